#include "evomoe/report/event_summary.h"

#include <algorithm>
#include <numeric>

#include "evomoe/report/protobuf.h"

// The messages and their field numbers are those of TensorFlow's summary.proto, histogram.proto and
// tensor.proto.
namespace evomoe {
namespace {

constexpr uint32_t kTag = 1;  // Summary.Value
constexpr uint32_t kSimpleValue = 2, kImage = 4, kHistogram = 5, kTensor = 8, kMetadata = 9;

constexpr size_t kBuckets = 30;  // as many as TensorBoard shows

}  // namespace

void EventSummary::add(const std::string& tag, const std::string& rest) {
  const auto value = ProtobufMessage().bytes(kTag, tag).text() + rest;
  bytes_ += ProtobufMessage().bytes(/*Summary.value*/ 1, value).text();
}

void EventSummary::scalar(const std::string& tag, double value) {
  add(tag, ProtobufMessage().small_number(kSimpleValue, static_cast<float>(value)).text());
}

void EventSummary::histogram(const std::string& tag, const std::vector<double>& values) {
  if (values.empty()) return;
  const auto [least, most] = std::ranges::minmax(values);
  const size_t buckets = most > least ? kBuckets : 1;
  // A bucket reaches from the limit of the one before, the first from `least`, to its own.
  const double width = (most - least) / static_cast<double>(buckets);
  std::vector<double> limits, counts(buckets);
  for (size_t i = 1; i < buckets; ++i) limits.push_back(least + static_cast<double>(i) * width);
  limits.push_back(most);
  for (const double value : values)
    ++counts[static_cast<size_t>(std::ranges::lower_bound(limits, value) - limits.begin())];
  const auto histogram =
      ProtobufMessage()
          .number(/*min*/ 1, least)
          .number(/*max*/ 2, most)
          .number(/*num*/ 3, static_cast<double>(values.size()))
          .number(/*sum*/ 4, std::reduce(values.begin(), values.end()))
          .number(/*sum_squares*/ 5,
                  std::inner_product(values.begin(), values.end(), values.begin(), 0.0))
          .numbers(/*bucket_limit*/ 6, limits)
          .numbers(/*bucket*/ 7, counts);
  add(tag, ProtobufMessage().bytes(kHistogram, histogram.text()).text());
}

void EventSummary::image(const std::string& tag, const PngImage& image) {
  constexpr uint64_t kRgb = 3;
  const auto message = ProtobufMessage()
                           .integer(/*height*/ 1, image.height)
                           .integer(/*width*/ 2, image.width)
                           .integer(/*colorspace*/ 3, kRgb)
                           .bytes(/*encoded_image_string*/ 4, image.png);
  add(tag, ProtobufMessage().bytes(kImage, message.text()).text());
}

void EventSummary::text(const std::string& tag, const std::string& text) {
  constexpr uint64_t kString = 7;  // DataType.DT_STRING
  const auto dimension = ProtobufMessage().integer(/*size*/ 1, 1);
  const auto shape = ProtobufMessage().bytes(/*dim*/ 2, dimension.text());
  const auto tensor = ProtobufMessage()
                          .integer(/*dtype*/ 1, kString)
                          .bytes(/*tensor_shape*/ 2, shape.text())
                          .bytes(/*string_val*/ 8, text);
  const auto plugin = ProtobufMessage().bytes(/*plugin_name*/ 1, "text");
  const auto metadata = ProtobufMessage().bytes(/*plugin_data*/ 1, plugin.text());
  add(tag,
      ProtobufMessage().bytes(kTensor, tensor.text()).bytes(kMetadata, metadata.text()).text());
}

}  // namespace evomoe
