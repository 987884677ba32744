"""Language models of evomoe for Hugging Face's transformers, in plain PyTorch.

Decoders whose feed-forward blocks are dense or mixtures of experts, with layer norms or RMS norms, learned, sinusoidal
or rotary positions, gated or plain blocks. Routing is that of evaluation, also while the model is trained: no noise,
and the capacity of evaluation, for which all tokens of a call count. So with a capacity the logits of a token depend
on what else is in the call; `router.eval_capacity` 1 in config.json makes experts that take every token.
"""
import math

import torch
import transformers
from torch import nn
from torch.nn import functional as F
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_evomoe import EvomoeConfig

ACTIVATIONS = {'gelu': F.gelu, 'gelu_pytorch_tanh': lambda x: F.gelu(x, approximate='tanh'), 'relu': F.relu,
               'silu': F.silu}
# Versions before 5.24 call the cache past_key_values.
CACHE = 'cache' if 'cache' in CausalLMOutputWithPast.__dataclass_fields__ else 'past_key_values'
TIED = {'lm_head.weight': 'model.embed_tokens.weight'}


def make_norm(config, width):
    kind = nn.RMSNorm if config.norm == 'rms_norm' else nn.LayerNorm
    return kind(width, eps=config.norm_eps)


def rotary_frequencies(head_dim, rotary):
    """float64 [head_dim / 2]: how far each pair of numbers turns from one position to the next."""
    frequency = rotary['base'] ** (torch.arange(head_dim // 2, dtype=torch.float64) * (-2.0 / head_dim))
    if rotary['scaling'] == 'default':
        return frequency
    slower = frequency / rotary['factor']
    if rotary['scaling'] == 'linear':
        return slower
    turns = frequency * (rotary['original_positions'] / (2 * math.pi))
    kept = ((turns - rotary['low_factor']) / (rotary['high_factor'] - rotary['low_factor'])).clamp(0, 1)
    return slower + kept * (frequency - slower)


def turned(x, rotation):
    """x [batch, heads, tokens, width]: number j and number j + width / 2 of a head are a pair."""
    cosine, sine = rotation
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


class EvomoeAttention(nn.Module):

    def __init__(self, config, layer):
        super().__init__()
        self.layer = layer
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = config.head_dim
        width, queries, keys = config.hidden_size, self.heads * self.head_dim, self.kv_heads * self.head_dim
        bias = config.attention_bias != 'none'
        self.k_proj = nn.Linear(width, keys, bias=bias)
        self.v_proj = nn.Linear(width, keys, bias=bias)
        self.q_proj = nn.Linear(width, queries, bias=bias)
        self.out_proj = nn.Linear(queries, width, bias=config.attention_bias == 'all')
        self.norm_by_head = config.query_key_norm == 'head'
        self.q_norm = self.k_norm = None
        if config.query_key_norm != 'none':
            self.q_norm = make_norm(config, self.head_dim if self.norm_by_head else queries)
            self.k_norm = make_norm(config, self.head_dim if self.norm_by_head else keys)

    def split(self, x):
        return x.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2)

    def turned_heads(self, x, norm, rotation):
        if norm is not None and not self.norm_by_head:
            x = norm(x)
        x = self.split(x)
        if norm is not None and self.norm_by_head:
            x = norm(x)
        return x if rotation is None else turned(x, rotation)

    def forward(self, x, mask, rotation, cache):
        q = self.turned_heads(self.q_proj(x), self.q_norm, rotation)
        k = self.turned_heads(self.k_proj(x), self.k_norm, rotation)
        v = self.split(self.v_proj(x))
        if cache is not None:
            k, v = cache.update(k, v, self.layer)
        if self.kv_heads != self.heads:
            k = k.repeat_interleave(self.heads // self.kv_heads, dim=1)
            v = v.repeat_interleave(self.heads // self.kv_heads, dim=1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(y.transpose(1, 2).flatten(2))


class EvomoeGate(nn.Module):
    """Which experts a token uses, and with which weights."""

    def __init__(self, config):
        super().__init__()
        self.router = config.router
        self.experts = config.num_experts
        self.wg = nn.Linear(config.hidden_size, config.num_experts, bias=False)

    def capacity(self, rows):
        """The most tokens of `rows` that an expert takes; None: all of them."""
        method, fraction = self.router['method'], self.router['eval_capacity']
        if method == 'dts':
            return math.ceil(fraction * rows) if fraction > 0 else None
        factor = self.router['train_capacity']
        if factor <= 0:
            return None
        if fraction > 0:
            return math.ceil(fraction * rows)
        if method == 'topk':
            return math.ceil(factor * (self.router['k'] * rows) / self.experts)
        share = -(-rows // self.experts)
        return 2 * share if method == 'gshard' else int(factor * share)

    def choices(self, probability):
        """The experts of each row, the most probable one first, and their weights before any is dropped."""
        router, method = self.router, self.router['method']
        count = {'switch': 1, 'gshard': 2}.get(method) or router['k' if method == 'topk' else 'final_k']
        weight, expert = probability.sort(dim=-1, descending=True, stable=True)
        weight, expert = weight[:, :count], expert[:, :count]
        total = weight.sum(dim=-1, keepdim=True)
        if method == 'gshard':
            if router['normalize_before_dropping']:
                weight = weight / total.clamp(min=torch.finfo(weight.dtype).eps)
        elif method == 'topk' and not router['no_normalize']:
            weight = weight / total
        elif method == 'dts' and (router['normalize_weights'] or router['scale_weights']):
            weight = weight / total.masked_fill(total == 0, 1)
        return weight, expert

    def places(self, chosen, weight, expert):
        """The place of each row in the queue of each expert, 0 for the first one."""
        if self.router['drop_policy'] == 'probs':
            key = torch.where(chosen, weight, torch.full_like(weight, -math.inf))
            order = key.sort(dim=0, descending=True, stable=True).indices
            return order.argsort(dim=0)
        if self.router['method'] != 'gshard':
            return chosen.long().cumsum(0) - 1
        # Second choices queue behind all first ones.
        first = F.one_hot(expert[:, 0], self.experts).bool() & chosen
        second = chosen & ~first
        order = torch.arange(chosen.shape[0], device=chosen.device)
        if self.router['batch_prioritized']:
            order = weight.gather(1, expert[:, :1]).squeeze(1).sort(descending=True, stable=True).indices
        back = order.argsort()
        of_first, of_second = (each.long()[order].cumsum(0)[back] - 1 for each in (first, second))
        return torch.where(first, of_first, of_second + first.sum(0))

    def forward(self, x, routed):
        """x [rows, width]; routed, bool [rows] or None: who may use experts. Weights [rows, experts], 0 where unused,
        and bool of the same shape: who uses which."""
        probability = F.linear(x.float(), self.wg.weight.float()).softmax(dim=-1)
        chosen_weight, expert = self.choices(probability)
        weight = torch.zeros_like(probability).scatter(1, expert, chosen_weight)
        chosen = torch.zeros_like(probability, dtype=torch.bool).scatter(1, expert, True)
        if routed is not None:
            chosen = chosen & routed.unsqueeze(1)
        capacity = self.capacity(x.shape[0])
        if capacity is not None:
            # Priority of importance is that of the plain probabilities.
            by = probability if self.router['drop_policy'] == 'position' else weight
            chosen = chosen & (self.places(chosen, by, expert) < capacity)
        weight = weight * chosen
        if self.router['method'] == 'gshard' and not self.router['normalize_before_dropping']:
            weight = weight / weight.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(weight.dtype).eps)
        return weight, chosen


class EvomoeExperts(nn.Module):
    """Feed-forward blocks whose weights are stacked: w1 [experts, hidden, width], w2 [experts, width, hidden], biases,
    and w3 like w1 where they are gated."""

    def __init__(self, config):
        super().__init__()
        experts, hidden, width = config.num_experts, config.moe_intermediate_size, config.hidden_size
        self.activation = ACTIVATIONS[config.hidden_act]
        self.w1 = nn.Parameter(torch.empty(experts, hidden, width))
        self.w2 = nn.Parameter(torch.empty(experts, width, hidden))
        self.w3 = nn.Parameter(torch.empty(experts, hidden, width)) if config.gated else None
        self.b1 = nn.Parameter(torch.empty(experts, hidden)) if config.ffn_bias else None
        self.b2 = nn.Parameter(torch.empty(experts, width)) if config.ffn_bias else None
        for parameter, inputs in ((self.w1, width), (self.w2, hidden), (self.w3, width), (self.b1, width),
                                  (self.b2, hidden)):
            if parameter is not None:
                nn.init.uniform_(parameter, -1 / math.sqrt(inputs), 1 / math.sqrt(inputs))

    def one(self, x, expert):
        hidden = self.activation(F.linear(x, self.w1[expert], None if self.b1 is None else self.b1[expert]))
        if self.w3 is not None:
            hidden = hidden * F.linear(x, self.w3[expert])
        return F.linear(hidden, self.w2[expert], None if self.b2 is None else self.b2[expert])

    def forward(self, x, weight, chosen):
        y = torch.zeros_like(x)
        for expert in range(self.w1.shape[0]):
            row = chosen[:, expert].nonzero().squeeze(1)
            if row.numel() > 0:
                y = y.index_add(0, row, self.one(x[row], expert) * weight[row, expert].unsqueeze(1).to(x.dtype))
        return y


class EvomoeMoELayer(nn.Module):

    def __init__(self, config):
        super().__init__()
        self.gate = EvomoeGate(config)
        self.experts = EvomoeExperts(config)
        self.masks_padding = config.router['mask_padding']

    def forward(self, x, real):
        rows = x.flatten(0, 1)
        routed = real.flatten() if self.masks_padding and real is not None else None
        return self.experts(rows, *self.gate(rows, routed)).view_as(x)


class EvomoeBlock(nn.Module):

    def __init__(self, config, layer):
        super().__init__()
        width = config.hidden_size
        self.activation = ACTIVATIONS[config.hidden_act]
        self.self_attn = EvomoeAttention(config, layer)
        self.self_attn_layer_norm = make_norm(config, width)
        self.moe_layer = EvomoeMoELayer(config) if config.has_experts(layer) else None
        hidden = config.intermediate_size if self.moe_layer is None else config.shared_expert_intermediate_size
        self.fc1 = self.fc2 = self.fc3 = None
        if hidden > 0:
            self.fc1 = nn.Linear(width, hidden, bias=config.ffn_bias)
            self.fc2 = nn.Linear(hidden, width, bias=config.ffn_bias)
            self.fc3 = nn.Linear(width, hidden, bias=False) if config.gated else None
        self.final_layer_norm = make_norm(config, width)

    def feed_forward(self, x):
        hidden = self.activation(self.fc1(x))
        return self.fc2(hidden if self.fc3 is None else hidden * self.fc3(x))

    def forward(self, x, mask, rotation, real, cache):
        x = x + self.self_attn(self.self_attn_layer_norm(x), mask, rotation, cache)
        y = self.final_layer_norm(x)
        if self.moe_layer is not None:
            x = x + self.moe_layer(y, real)
        return x if self.fc1 is None else x + self.feed_forward(y)


class EvomoePreTrainedModel(PreTrainedModel):
    config_class = EvomoeConfig
    base_model_prefix = 'model'
    _no_split_modules = ['EvomoeBlock']
    _supports_sdpa = True


class EvomoeModel(EvomoePreTrainedModel):
    """From tokens to features."""

    def __init__(self, config):
        super().__init__(config)
        width, padding = config.hidden_size, config.padding_index
        self.embed_tokens = nn.Embedding(config.vocab_size, width)
        self.embed_positions = None
        if config.positions == 'learned':
            self.embed_positions = nn.Embedding(config.max_position_embeddings + padding + 1, width)
        self.layernorm_embedding = make_norm(config, width) if config.embedding_norm else None
        self.layers = nn.ModuleList(EvomoeBlock(config, layer) for layer in range(config.num_hidden_layers))
        self.layer_norm = make_norm(config, width) if config.final_norm else None
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def set_input_embeddings(self, value):
        self.embed_tokens = value

    def places(self, tokens, past, real, position_ids, device):
        """The place of each token in its row: 1, 2, ..., and 0 for padding."""
        if real is not None:
            return (real.long().cumsum(1) * real)[:, -tokens:]
        if position_ids is not None:
            return position_ids + 1
        return torch.arange(past + 1, past + tokens + 1, device=device).unsqueeze(0)

    def position_vectors(self, place):
        position = place + self.config.padding_index
        if self.embed_positions is not None:
            return self.embed_positions(position)
        # Sines, then cosines; made anew in each call, as the table is no weight.
        width = self.config.hidden_size
        step = math.log(10000.0) / max(width // 2 - 1, 1)
        frequency = torch.exp(torch.arange(width // 2, dtype=torch.float32, device=place.device) * -step)
        angle = position.unsqueeze(-1).float() * frequency
        vectors = F.pad(torch.cat([angle.sin(), angle.cos()], dim=-1), (0, width % 2))
        return vectors.masked_fill(place.unsqueeze(-1) == 0, 0)

    def attention_mask(self, tokens, keys, real, device):
        """bool [batch or 1, 1, tokens, keys]: who may see whom."""
        mask = torch.ones(tokens, keys, dtype=torch.bool, device=device).tril(keys - tokens)
        if self.config.attention_window > 0:
            mask = mask.triu(keys - tokens - self.config.attention_window + 1)
        mask = mask[None, None]
        return mask if real is None else mask & real[:, None, None, :]

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, cache=None, inputs_embeds=None):
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        tokens, past = x.shape[1], 0 if cache is None else cache.get_seq_length()
        real = None
        if attention_mask is not None:
            if attention_mask.dim() != 2 or attention_mask.shape[1] != past + tokens:
                raise ValueError(f'attention_mask has the shape {list(attention_mask.shape)}; it has to be '
                                 f'[batch, {past + tokens}], the tokens of the cache and those that are given')
            real = attention_mask.bool()
            real = None if bool(real.all()) else real
        place = self.places(tokens, past, real, position_ids, x.device)
        if self.config.scale_embedding:
            x = x * math.sqrt(self.config.hidden_size)
        rotation = None
        if self.config.positions == 'rotary':
            frequency = rotary_frequencies(self.config.head_dim, self.config.rotary).to(x.device)
            angle = (place - 1).unsqueeze(1).unsqueeze(-1).double() * frequency
            rotation = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        elif self.config.positions != 'none':
            x = x + self.position_vectors(place).to(x.dtype)
        if self.layernorm_embedding is not None:
            x = self.layernorm_embedding(x)
        mask = self.attention_mask(tokens, past + tokens, real, x.device)
        for layer in self.layers:
            x = layer(x, mask, rotation, None if real is None else real[:, -tokens:], cache)
        return x if self.layer_norm is None else self.layer_norm(x)


class EvomoeForCausalLM(EvomoePreTrainedModel, GenerationMixin):
    """The model with the projection that predicts the next token."""
    # Before version 5 the names of what is tied alone.
    _tied_weights_keys = TIED if int(transformers.__version__.split('.')[0]) >= 5 else list(TIED)

    def __init__(self, config):
        super().__init__(config)
        self.model = EvomoeModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, value):
        self.model.embed_tokens = value

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, cache=None, past_key_values=None,
                inputs_embeds=None, labels=None, use_cache=None, logits_to_keep=0, return_dict=None, **kwargs):
        """`attention_mask` [batch, tokens]: 0 for padding, on either side. `labels`: tokens that the logits of those
        before them are compared with, -100 for none."""
        cache = past_key_values if cache is None else cache
        if cache is None and (self.config.use_cache and not self.training if use_cache is None else use_cache):
            cache = DynamicCache()
        x = self.model(input_ids, attention_mask, position_ids, cache, inputs_embeds)
        if isinstance(logits_to_keep, torch.Tensor):
            x = x[:, logits_to_keep]
        elif logits_to_keep > 0:
            x = x[:, -logits_to_keep:]
        logits = self.lm_head(x)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten().to(logits.device))
        output = CausalLMOutputWithPast(loss=loss, logits=logits, **{CACHE: cache})
        return output.to_tuple() if return_dict is False else output
