#include "evomoe/report/heat_map.h"

#include <gtest/gtest.h>
#include <png.h>

#include <cmath>

namespace evomoe {
namespace {

/// The pixels of a PNG.
std::vector<Colour> pixels_of(const PngImage& image) {
  png_image reader = {};
  reader.version = PNG_IMAGE_VERSION;
  EXPECT_NE(png_image_begin_read_from_memory(&reader, image.png.data(), image.png.size()), 0);
  EXPECT_EQ(reader.width, image.width);
  EXPECT_EQ(reader.height, image.height);
  reader.format = PNG_FORMAT_RGB;
  std::vector<Colour> pixels(image.width * image.height);
  EXPECT_NE(png_image_finish_read(&reader, nullptr, pixels.data(), 0, nullptr), 0);
  return pixels;
}

TEST(HeatMap, AnEqualShareIsWhiteNothingIsBlackAndTooMuchIsRed) {
  EXPECT_EQ(load_colour(0), (Colour{0, 0, 0}));
  EXPECT_EQ(load_colour(1), (Colour{255, 255, 255}));
  EXPECT_EQ(load_colour(4), load_colour(400));
  EXPECT_GT(load_colour(4).red, load_colour(4).blue);
  EXPECT_GT(load_colour(0.5).blue, load_colour(0.5).red);
}

TEST(HeatMap, ASquareOfItsPictureHasTheColourOfItsValue) {
  const std::vector<std::vector<double>> rows = {{0, 1, 2}, {4, 0.5}};
  const auto image = heat_map(rows);
  const auto pixels = pixels_of(image);
  const size_t square = image.width / 3;
  ASSERT_EQ(image.height, 2 * square);
  for (size_t y = 0; y < image.height; ++y) {
    for (size_t x = 0; x < image.width; ++x) {
      const size_t row = y / square, column = x / square;
      const auto expected =
          column < rows[row].size() ? load_colour(rows[row][column]) : load_colour(std::nan(""));
      ASSERT_EQ(pixels[y * image.width + x], expected) << x << " " << y;
    }
  }
}

TEST(HeatMap, ThePictureOfManyExpertsAndLayersStaysSmall) {
  std::vector<std::vector<double>> rows(100, std::vector<double>(256));
  for (size_t i = 0; i < 25600; ++i) rows[i / 256][i % 256] = static_cast<double>(i * i % 97) / 48;
  const auto image = heat_map(rows);
  EXPECT_LE(image.width, 1024U);
  EXPECT_LT(image.png.size(), size_t{200'000});
}

}  // namespace
}  // namespace evomoe
