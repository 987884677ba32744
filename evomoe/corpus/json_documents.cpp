#include "evomoe/corpus/json_documents.h"

#include <fmt/ranges.h>

#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"
#include "evomoe/corpus/json_rows.h"
#include "evomoe/corpus/line_documents.h"
#include "evomoe/text/text_lines.h"

namespace evomoe {
namespace {

using nlohmann::json;

/// Takes the string of one key of an object out of its text, without making the object.
class TextOfObject : public json::json_sax_t {
 public:
  explicit TextOfObject(const std::string& column) : column_(column) {}

  /// False: there is no such string, or not exactly one.
  bool take(std::string_view line) {
    depth_ = 0;
    found_ = 0;
    is_next_ = false;
    text_.clear();
    // The parser takes a NUL byte for the end.
    return line.find('\0') == std::string_view::npos &&
           json::sax_parse(line.begin(), line.end(), this) && found_ == 1 && is_string_;
  }
  const std::string& text() const { return text_; }

  bool null() override { return other(); }
  bool boolean(bool /*value*/) override { return other(); }
  bool number_integer(number_integer_t /*value*/) override { return other(); }
  bool number_unsigned(number_unsigned_t /*value*/) override { return other(); }
  bool number_float(number_float_t /*value*/, const string_t& /*digits*/) override {
    return other();
  }
  bool binary(binary_t& /*value*/) override { return other(); }
  bool string(string_t& value) override {
    if (is_next_) text_.swap(value);
    is_string_ = is_next_ || is_string_;
    is_next_ = false;
    return true;
  }
  bool start_object(std::size_t /*size*/) override {
    ++depth_;
    return other();
  }
  bool start_array(std::size_t /*size*/) override {
    ++depth_;
    return depth_ > 1 && other();  // a list is no object
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool key(string_t& name) override {
    is_next_ = depth_ == 1 && name == column_;
    if (is_next_) {
      ++found_;
      is_string_ = false;
    }
    return true;
  }
  bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                   const json::exception& /*error*/) override {
    return false;
  }

 private:
  bool other() {
    is_next_ = false;
    return true;
  }

  const std::string& column_;
  std::string text_;
  int64_t depth_ = 0;
  int64_t found_ = 0;       ///< how often the key comes
  bool is_next_ = false;    ///< the next value is that of the key
  bool is_string_ = false;  ///< its last value is a string
};

class JsonLines : public LineDocuments {
 public:
  JsonLines(const std::filesystem::path& path, const std::string& column)
      : LineDocuments(path), column_(column) {}

  DocumentKind kind() const override { return DocumentKind::kRecords; }
  int64_t for_each(const DocumentPiece& piece, const TextFunction& document,
                   std::vector<BadRow>& bad) const override {
    int64_t rows = 0;
    TextOfObject object(column_);
    for_each_line(piece.bytes, [&](std::string_view line) {
      ++rows;
      if (object.take(line)) {  // so it is UTF-8
        document(object.text());
      } else if (!strip(line).empty()) {
        bad.push_back({rows, is_utf8(line) ? why_not(line, piece.bytes) : kNotUtf8});
      }
    });
    return rows;
  }

 private:
  /// Why a line has no text.
  std::string why_not(std::string_view line, std::string_view piece) const {
    const auto parsed = parse_json(line);
    if (parsed.is_discarded() && is_cut_off(line, piece)) return kCutOff;
    const auto wanted =
        fmt::format("each line must be one object, like {{\"{}\": \"...\"}}", column_);
    if (parsed.is_array() || line.starts_with('[')) {
      return "this is a JSON list, or its beginning; " + wanted +
             " (`jq -c '.[]'` makes lines of a list)";
    }
    if (parsed.is_discarded())
      return fmt::format("this is no JSON ({}); {}", json_problem(line).reason, wanted);
    if (!parsed.is_object()) return fmt::format("this is {}; {}", type_words(parsed), wanted);
    if (!parsed.contains(column_)) {
      return fmt::format("the object has no \"{}\", but {}; name the text with --text-column",
                         column_, shown_keys(parsed));
    }
    if (const auto& value = parsed.at(column_); !value.is_string())
      return fmt::format("\"{}\" is {}; it must be a string", column_, type_words(value));
    return fmt::format("\"{}\" comes twice; which value is meant cannot be known", column_);
  }

  std::string column_;
};

}  // namespace

std::string shown_keys(const json& object) {
  constexpr size_t kMost = 20;
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) {
    if (keys.size() < kMost) keys.push_back("\"" + key + "\"");
  }
  if (keys.empty()) return "no key";
  return fmt::format("{}{}", fmt::join(keys, ", "),
                     object.size() > kMost ? fmt::format(", ... ({} in all)", object.size()) : "");
}

std::string type_words(const json& value) {
  const char* article = value.is_array() || value.is_object() ? "an " : value.is_null() ? "" : "a ";
  return std::string(article) + value.type_name();
}

bool is_cut_off(std::string_view line, std::string_view piece) {
  const bool ends_file = line.data() + line.size() == piece.data() + piece.size();
  return ends_file && !piece.ends_with('\n') && !piece.ends_with('\r') &&
         json_problem(line).is_at_end;
}

std::unique_ptr<DocumentReader> open_json_lines(const std::filesystem::path& path,
                                                const std::string& column) {
  return std::make_unique<JsonLines>(path, column);
}

}  // namespace evomoe
