"""Tiny models in the formats of other libraries, at random: for tests of the form, not of what they know."""

from pathlib import Path
from typing import Any

FAMILIES: dict[str, dict[str, Any]] = {
    "ViT": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
            "image_size": 32, "patch_size": 4},
    "DeiT": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
             "image_size": 32, "patch_size": 4},
    "Beit": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
             "image_size": 32, "patch_size": 4, "use_relative_position_bias": True, "use_mean_pooling": True},
    "Swin": {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 2], "num_heads": [2, 2],
             "window_size": 4},
    "ConvNext": {"hidden_sizes": [8, 16], "depths": [1, 2], "num_stages": 2},
    "ResNet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 2], "layer_type": "bottleneck"},
}  # fmt: skip
"""Settings of small image classifiers of transformers."""


def transformers_folder(root: Path, family: str = "ViT", num_labels: int = 7) -> Path:
    """Write a folder as `from_pretrained` reads it: config.json and model.safetensors."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    config = getattr(transformers, f"{family}Config")(**FAMILIES[family], num_labels=num_labels)
    getattr(transformers, f"{family}ForImageClassification")(config).save_pretrained(root)
    return root


TEXT_FAMILIES: dict[str, dict[str, Any]] = {
    "Bert": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
             "max_position_embeddings": 64},
    "Roberta": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
                "max_position_embeddings": 66, "pad_token_id": 1, "type_vocab_size": 1},
    "DistilBert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 64},
    "GPT2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "pad_token_id": 0, "bos_token_id": 5,
             "eos_token_id": 6},
}  # fmt: skip
"""Settings of small text models of transformers."""


def text_folder(root: Path, family: str = "Bert", kind: str = "Model", vocab_size: int = 40, **settings: Any) -> Path:
    """Write a folder of a text model of transformers, `kind` being the end of its class: Model, ForMaskedLM ..."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    config = getattr(transformers, f"{family}Config")(**{**TEXT_FAMILIES[family], "vocab_size": vocab_size, **settings})
    getattr(transformers, f"{family}{kind}")(config).save_pretrained(root)
    return root
