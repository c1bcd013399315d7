"""Every field of TransformerLens' configs, 2.0 to 4.3: HookedTransformerConfig, and TransformerLensConfig and
TransformerBridgeConfig, which from 3.0 on share its names. By TransformerLens' own code, what each does to the logits."""

from toylab.importers.settings import harmless, read, refused

ROTARY = "rotary positions here turn by t·10000^(−2i/rotary_dim), in half-split order"
ONE_NORM = "norms here are LayerNorm before attention, MLP and unembedding"
ONE_BLOCK = "a block here is attention, then an MLP of two matrices"
PLAIN = "attention here is softmax(q·k/√d_head) over all earlier positions, or all positions"
TEXT = "of text and its tokens: networks here take tokens"
INIT = "the weights are given"
OTHER = "that is another kind of network"

OTHER_ARCHITECTURES = (  # names on which TransformerLens' blocks branch: norms behind attention and MLP, or of q and k
    "Olmo2ForCausalLM", "Olmo3ForCausalLM", "OlmoeForCausalLM", "GptOssForCausalLM",
)  # fmt: skip

LENS_FIELDS = {
    **read("a size, held against the arrays", "n_layers", "d_model", "n_ctx", "d_head", "n_heads", "d_mlp", "d_vocab"),
    **read("a size, held against the arrays", "d_vocab_out", "rotary_dim", "n_key_value_heads"),
    **read("held against the arrays", "attn_only"),
    **read("relu, gelu or gelu_new, where there is an MLP", "act_fn"),
    **read("whether a position sees later ones", "attention_dir"),
    **read("LN, LNPre (no weights of its own) or none", "normalization_type"),
    **read(
        "learned and added, learned and added for queries and keys alone, rotary, or none", "positional_embedding_type"
    ),
    **read("scores are divided by √d_head alone", "use_attn_scale", "attn_scale"),
    **read("refused where the code has other blocks for it", "original_architecture", "architecture"),
    **read(
        "of a bridge of GPT-NeoX: the share of a head that turns", "rope_parameters", "rotary_pct", "rotary_emb_base"
    ),
    **read("the same", "rope_theta", "partial_rotary_factor"),
    **read("toylab's own: logits at all positions, or the last", "readout"),
    # attention
    **refused(PLAIN, "scale_attn_by_inverse_layer_idx", False),
    **refused(PLAIN, "use_local_attn", False),
    **refused(PLAIN, "window_size", None),
    **refused(PLAIN, "attn_types", None),
    **refused(PLAIN, "attn_scores_soft_cap", -1.0, 0.0, None),
    **refused(PLAIN, "use_qk_norm", False),
    **refused(PLAIN, "clip_qkv", None),
    **refused(PLAIN, "use_attention_sinks", False),
    **refused(PLAIN, "use_logn_attn", False),
    **refused(PLAIN, "relative_attention_max_distance", None),
    **refused(PLAIN, "relative_attention_num_buckets", None),
    **refused(PLAIN, "per_layer_head_dim", None),
    **refused(PLAIN, "per_layer_num_key_value_heads", None),
    **harmless("read with use_qk_norm alone, which is refused", "qk_norm_after_rope"),
    **harmless("how keys and values that heads share are held", "ungroup_grouped_query_attention"),
    # rotary positions
    **refused(ROTARY, "rotary_base", 10000, where="rotary"),
    **refused(ROTARY, "rotary_adjacent_pairs", False, where="rotary"),
    **refused(ROTARY, "rotary_interleaved_cos_sin", False, where="rotary"),
    **refused(ROTARY, "rotary_scaling_factor", 1.0, where="rotary"),
    **refused(ROTARY, "rope_scaling", None, where="rotary"),
    **refused(ROTARY, "use_NTK_by_parts_rope", False, where="rotary"),
    **refused(ROTARY, "use_yarn_rope", False, where="rotary"),
    **refused(ROTARY, "use_dynamic_ntk_rope", False, where="rotary"),
    **harmless("read with use_local_attn alone, which is refused", "rotary_base_local"),
    **harmless("read with use_NTK_by_parts_rope alone, which is refused", "NTK_by_parts_low_freq_factor"),
    **harmless("the same", "NTK_by_parts_high_freq_factor", "NTK_by_parts_factor", "NTK_original_ctx_len"),
    **harmless("read with use_yarn_rope alone, which is refused", "yarn_factor", "yarn_attention_factor"),
    **harmless("the same", "yarn_beta_fast", "yarn_beta_slow", "yarn_original_max_position_embeddings"),
    **harmless("the same", "yarn_truncate", "yarn_global_attn_only"),
    **harmless("read with use_logn_attn or use_dynamic_ntk_rope alone, which are refused", "train_seq_length"),
    # norms
    **refused("LayerNorm here has eps 1e-5", "eps", 1e-5, where="norm"),
    **refused(ONE_NORM, "final_rms", False, where="norm"),
    **refused(ONE_NORM, "uses_rms_norm", False, where="norm"),
    **refused(ONE_NORM, "rmsnorm_uses_offset", False, where="norm"),
    **refused(ONE_NORM, "use_normalization_before_and_after", False, where="norm"),
    **refused(ONE_NORM, "layer_norm_folding", False, where="norm"),
    **refused(ONE_NORM, "post_embedding_ln", False),
    **harmless("the name under which a layer's own code finds eps", "eps_attr"),
    # the block, the embedding, the logits
    **read("whether attention and MLP read the same", "parallel_attn_mlp", "use_parallel_residual"),
    **refused(ONE_BLOCK, "gated_mlp", False, where="mlp"),
    **refused(ONE_BLOCK, "num_experts", None, where="mlp"),
    **refused(ONE_BLOCK, "experts_per_token", None, where="mlp"),
    **harmless("read with num_experts alone, which is refused", "norm_topk_prob"),
    **refused("embeddings here enter as they are", "scale_embedding", None, False),
    **refused("logits here are x W_U + b_U", "output_logits_soft_cap", -1.0, 0.0, None),
    **harmless("both matrices are among the arrays, and only encoder-decoders scale by it", "tie_word_embeddings"),
    # other networks
    **refused("weights here are plain floats", "load_in_4bit", False),
    **refused("weights here are plain floats", "quantization_method", None),
    **refused(OTHER, "is_audio_model", False),
    **refused(OTHER, "is_visual_model", False),
    **refused(OTHER, "is_stateful", False),
    **refused(OTHER, "is_multimodal", False),
    **refused(OTHER, "vision_hidden_size", None),
    **refused(OTHER, "vision_num_layers", None),
    **refused(OTHER, "vision_num_heads", None),
    **refused(OTHER, "mm_tokens_per_image", None),
    # no logit depends on these
    **harmless("hooks alone", "use_attn_result", "use_split_qkv_input", "use_hook_mlp_in", "use_attn_in"),
    **harmless("hooks alone", "use_hook_tokens"),
    **harmless(TEXT, "tokenizer_name", "tokenizer_prepends_bos", "tokenizer_appends_eos", "default_prepend_bos"),
    **harmless(TEXT, "default_padding_side", "decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id"),
    **harmless(
        "what a bridge copies of the wrapped model's config", "intermediate_size", "attention_bias", "hidden_act"
    ),
    **harmless("where the weights come from", "model_name", "from_checkpoint", "checkpoint_index"),
    **harmless("where the weights come from", "checkpoint_label_type", "checkpoint_value", "trust_remote_code"),
    **harmless("a count of weights", "n_params"),
    **harmless(INIT, "init_mode", "initializer_range", "init_weights", "seed"),
    **harmless("where and in what precision it was computed: here float32", "device", "n_devices", "dtype"),
    **harmless("which program computes the same attention", "attn_implementation", "split_attention_weights"),
}
