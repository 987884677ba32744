#include "evomoe/report/heat_map.h"

#include <png.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

constexpr size_t kWidth = 512;  // of a picture, about
constexpr size_t kLeastSquare = 4, kLargestSquare = 24;
constexpr Colour kGrey = {128, 128, 128};

struct Stop {
  double load;
  Colour colour;
};
constexpr std::array kStops = {Stop{0, {0, 0, 0}}, Stop{0.5, {40, 90, 170}},
                               Stop{1, {255, 255, 255}}, Stop{2, {250, 190, 60}},
                               Stop{4, {130, 10, 20}}};

unsigned char between(unsigned char low, unsigned char high, double share) {
  return static_cast<unsigned char>(std::lround(low + share * (high - low)));
}

std::string png_of(const std::vector<Colour>& pixels, size_t width, size_t height) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = PNG_FORMAT_RGB;
  std::string png(PNG_IMAGE_PNG_SIZE_MAX(image), '\0');
  png_alloc_size_t size = png.size();
  const int written = png_image_write_to_memory(&image, png.data(), &size, /*convert_to_8bit=*/0,
                                                pixels.data(), /*row_stride=*/0,
                                                /*colormap=*/nullptr);
  EVOMOE_CHECK(written != 0, "a picture of {} x {} pixels cannot be made: {}", width, height,
               image.message);
  png.resize(size);
  return png;
}

}  // namespace

Colour load_colour(double load) {
  if (!std::isfinite(load)) return kGrey;
  if (load <= kStops.front().load) return kStops.front().colour;
  for (size_t i = 1; i < kStops.size(); ++i) {
    const auto& [low, from] = kStops[i - 1];
    const auto& [high, to] = kStops[i];
    if (load > high) continue;
    const double share = (load - low) / (high - low);
    return {between(from.red, to.red, share), between(from.green, to.green, share),
            between(from.blue, to.blue, share)};
  }
  return kStops.back().colour;
}

PngImage heat_map(const std::vector<std::vector<double>>& rows) {
  size_t columns = 0;
  for (const auto& row : rows) columns = std::max(columns, row.size());
  EVOMOE_CHECK(columns > 0, "a heat map needs at least one value");
  const size_t square = std::clamp(kWidth / columns, kLeastSquare, kLargestSquare);
  PngImage image{.width = columns * square, .height = rows.size() * square, .png = {}};
  std::vector<Colour> pixels;
  pixels.reserve(image.width * image.height);
  for (const auto& row : rows) {
    std::vector<Colour> line;
    for (size_t column = 0; column < columns; ++column)
      line.insert(line.end(), square, column < row.size() ? load_colour(row[column]) : kGrey);
    for (size_t i = 0; i < square; ++i) pixels.insert(pixels.end(), line.begin(), line.end());
  }
  image.png = png_of(pixels, image.width, image.height);
  return image;
}

}  // namespace evomoe
