#pragma once

#include <string_view>

/// The files of the page that the program holds: the build makes a source of each (evomoe_embed()
/// in cmake/rooms.cmake).
namespace evomoe {

std::string_view template_html();
std::string_view page_css();
std::string_view dygraph_min_js();  ///< the plotting library; empty: the build has none

// The page's own scripts, in the order in which they use each other.
std::string_view words_js();
std::string_view plots_js();
std::string_view heat_map_js();
std::string_view tables_js();
std::string_view tokens_js();
std::string_view live_js();
std::string_view page_js();

}  // namespace evomoe
