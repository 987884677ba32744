#include "evomoe/ops/tied_embedding.h"

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

void add_rows(torch::Tensor table_VD, const torch::Tensor& token_T, const torch::Tensor& grad_TD,
              int64_t padding_index) {
  auto& gradient = table_VD.mutable_grad();
  if (!gradient.defined()) gradient = torch::zeros_like(table_VD);
  const auto kept_N = (token_T != padding_index).nonzero().squeeze(1);
  if (kept_N.size(0) == token_T.size(0)) {
    gradient.index_add_(0, token_T, grad_TD);
  } else {
    gradient.index_add_(0, token_T.index_select(0, kept_N), grad_TD.index_select(0, kept_N));
  }
}

}  // namespace

torch::Tensor tied_embedding(const torch::Tensor& table_VD, const torch::Tensor& token,
                             int64_t padding_index) {
  auto rows = torch::embedding(table_VD.detach(), token);
  if (!table_VD.requires_grad() || !torch::GradMode::is_enabled()) return rows;
  rows.requires_grad_();
  rows.register_hook([table_VD, token, padding_index](const torch::Tensor& gradient) {
    if (!gradient.defined()) return;  // nothing behind it reached the loss
    EVOMOE_CHECK(!torch::GradMode::is_enabled(),
                 "tied_embedding cannot be differentiated twice; call backward without "
                 "create_graph");
    const torch::NoGradGuard no_grad;
    add_rows(table_VD, token.flatten(), gradient.reshape({-1, table_VD.size(1)}), padding_index);
  });
  return rows;
}

}  // namespace evomoe
