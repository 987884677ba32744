#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace evomoe {

/// A picture, with the bytes of a PNG file.
struct PngImage {
  size_t width = 0, height = 0;  ///< pixels
  std::string png;
};

/// A colour, as red, green and blue.
struct Colour {
  unsigned char red = 0, green = 0, blue = 0;
  bool operator==(const Colour&) const = default;
};

/// The colour of a load over the mean load: black at 0 (nothing), by blue to white at 1 (its equal
/// share), by yellow to dark red at 4 and above.
Colour load_colour(double load);

/// A square of load_colour() for each value, a row of squares for each row. Rows that are shorter
/// than others end in grey.
PngImage heat_map(const std::vector<std::vector<double>>& rows);

}  // namespace evomoe
