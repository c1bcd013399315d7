"""Every field of Hugging Face's GPT2Config and GPTNeoXConfig, transformers 4.0 to 5.24, and what it does to the logits."""

from toylab.importers.settings import Field, harmless, read, refused

SIZE = "a size, held against the arrays"
TEXT = "of text and its tokens: networks here take tokens"
OTHER = "that is another kind of network"

COMMON: dict[str, Field] = {
    **read("whether the unembedding is the embedding", "tie_word_embeddings"),
    **read("toylab's own: logits at all positions, or the last", "readout"),
    **read(SIZE, "vocab_size"),
    **refused(OTHER, "add_cross_attention", False),
    **refused(OTHER, "is_encoder_decoder", False),
    **refused(OTHER, "tie_encoder_decoder", False),
    **refused(OTHER, "cross_attention_hidden_size", None),
    **refused("heads here are all there", "pruned_heads", {}, None),
    **refused("weights here are plain floats", "quantization_config", None),
    **harmless("the arrays say what the network has", "architectures", "is_decoder", "finetuning_task"),
    **harmless("dropout, which acts in training alone", "attn_pdrop", "embd_pdrop", "resid_pdrop"),
    **harmless("dropout, which acts in training alone", "attention_dropout", "hidden_dropout", "classifier_dropout"),
    **harmless("the weights are given", "initializer_range", "_name_or_path", "name_or_path", "model_name"),
    **harmless("which program wrote it", "transformers_version", "torchscript", "use_bfloat16", "tf_legacy_loss"),
    **harmless("in what precision it was computed: here float32", "dtype", "torch_dtype"),
    **harmless("what a call returns", "return_dict", "output_hidden_states", "output_attentions", "output_scores"),
    **harmless("what a call returns", "return_dict_in_generate"),
    **harmless("which program computes the same", "use_cache", "chunk_size_feed_forward", "gradient_checkpointing"),
    **harmless("which program computes the same", "_attn_implementation_autoset", "_attn_implementation"),
    **harmless("which program computes the same", "attn_implementation", "reorder_and_upcast_attn"),
    **harmless("a classifier's", "id2label", "label2id", "problem_type", "num_labels", "task_specific_params"),
    **harmless("a classifier's", "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels"),
    **harmless("a classifier's", "summary_first_dropout"),
    **harmless(TEXT, "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id"),
    **harmless(TEXT, "tokenizer_class", "prefix", "predict_special_tokens"),
    **harmless("how text is drawn", "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "top_k"),
    **harmless("how text is drawn", "num_beam_groups", "diversity_penalty", "temperature", "top_p", "typical_p"),
    **harmless("how text is drawn", "repetition_penalty", "length_penalty", "no_repeat_ngram_size", "bad_words_ids"),
    **harmless("how text is drawn", "encoder_no_repeat_ngram_size", "num_return_sequences", "suppress_tokens"),
    **harmless("how text is drawn", "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values"),
    **harmless("how text is drawn", "exponential_decay_length_penalty", "begin_suppress_tokens"),
}
GPT2_FIELDS: dict[str, Field] = {
    **COMMON,
    **refused("these arrays are GPT-2's", "model_type", "gpt2"),
    **read("the number of heads", "n_head"),
    **read(SIZE, "n_positions", "n_ctx", "n_embd", "n_layer", "n_inner"),
    **read("gelu_new, gelu_pytorch_tanh (the same), gelu or relu", "activation_function"),
    **refused("LayerNorm here has eps 1e-5", "layer_norm_epsilon", 1e-5),
    **refused("scores here are divided by √d_head alone", "scale_attn_weights", True),
    **refused("scores here are divided by √d_head alone", "scale_attn_by_inverse_layer_idx", False),
}
NEOX_FIELDS: dict[str, Field] = {
    **COMMON,
    **refused("these arrays are GPT-NeoX's", "model_type", "gpt_neox"),
    **read("the number of heads", "num_attention_heads"),
    **read("the most positions", "max_position_embeddings"),
    **read(SIZE, "hidden_size", "num_hidden_layers", "intermediate_size"),
    **read("gelu, gelu_new or relu", "hidden_act"),
    **read("whether attention and MLP read the same", "use_parallel_residual"),
    **read("the share of a head that turns", "rotary_pct", "partial_rotary_factor"),
    **read("10000 alone", "rotary_emb_base", "rope_theta"),
    **read("in transformers 5 the three before, and the kind of angles", "rope_parameters"),
    **refused("rotary positions here turn by t·10000^(−2i/rotary_dim)", "rope_scaling", None),
    **refused("LayerNorm here has eps 1e-5", "layer_norm_eps", 1e-5),
    **refused("the arrays have biases", "attention_bias", True),
}
