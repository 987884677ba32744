"""The configuration of a language model of evomoe, for Hugging Face's transformers."""
from transformers import PretrainedConfig


class EvomoeConfig(PretrainedConfig):
    """What a decoder of evomoe is made of; modeling_evomoe.py says what each part does.

    A layer i, from 0, has experts where `moe_freq` is above 0, (i + 1) is a multiple of it, and i is at least
    `first_dense_layers`. `router` has the method and its options under evomoe's names.
    """

    model_type = 'evomoe'
    keys_to_ignore_at_inference = ['cache', 'past_key_values']

    def __init__(self, vocab_size=50000, hidden_size=512, intermediate_size=2048, num_hidden_layers=6,
                 num_attention_heads=8, num_key_value_heads=None, head_dim=None, hidden_act='gelu',
                 max_position_embeddings=1024, positions='sinusoidal', padding_index=1, rotary=None, norm='layer_norm',
                 norm_eps=1e-5, gated=False, ffn_bias=True, attention_bias='all', query_key_norm='none',
                 attention_window=0, embedding_norm=False, final_norm=True, scale_embedding=True, moe_freq=0,
                 first_dense_layers=0, num_experts=0, moe_intermediate_size=None, shared_expert_intermediate_size=0,
                 router=None, use_cache=True, tie_word_embeddings=True, **kwargs):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads or num_attention_heads
        self.head_dim = head_dim or hidden_size // num_attention_heads
        self.hidden_act = hidden_act
        self.max_position_embeddings = max_position_embeddings
        self.positions = positions
        self.padding_index = padding_index
        self.rotary = rotary
        self.norm = norm
        self.norm_eps = norm_eps
        self.gated = gated
        self.ffn_bias = ffn_bias
        self.attention_bias = attention_bias
        self.query_key_norm = query_key_norm
        self.attention_window = attention_window
        self.embedding_norm = embedding_norm
        self.final_norm = final_norm
        self.scale_embedding = scale_embedding
        self.moe_freq = moe_freq
        self.first_dense_layers = first_dense_layers
        self.num_experts = num_experts
        self.moe_intermediate_size = moe_intermediate_size or intermediate_size
        self.shared_expert_intermediate_size = shared_expert_intermediate_size
        self.router = router
        self.use_cache = use_cache
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)

    def has_experts(self, layer):
        """Whether layer number `layer`, from 0, is a mixture of experts."""
        return self.moe_freq > 0 and layer >= self.first_dense_layers and (layer + 1) % self.moe_freq == 0
