# mypy: ignore-errors
# ruff: noqa: B018
"""Calls into transformers: lazy modules that replace themselves, auto classes named by strings."""

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    BertConfig,
    GPT2Config,
    GPT2LMHeadModel,
)


def fill(model):
    """Sets weights: how they are initialised depends on what `__module__` starts with."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator) - 0.5)
    return model.eval()


def run():
    yield (
        type(transformers).__name__,
        transformers.__version__,
        "GPT2LMHeadModel" in dir(transformers),
    )
    config = GPT2Config(
        n_layer=2,
        n_head=2,
        n_embd=16,
        vocab_size=50,
        n_positions=32,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = fill(AutoModelForCausalLM.from_config(config))
    ids = torch.arange(3, 11)[None]
    with torch.no_grad():
        yield type(model) is GPT2LMHeadModel, model(ids).logits.double().sum().item().hex()
        yield model.generate(ids, max_new_tokens=4, do_sample=False, pad_token_id=0).tolist()
    small = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
    }
    for kind in ("bert", "distilbert", "llama", "t5", "vit"):
        found = AutoConfig.for_model(kind)
        yield (
            kind,
            type(found).__name__,
            transformers.models.auto.modeling_auto.MODEL_MAPPING[type(found)].__name__,
        )
    bert = fill(
        AutoModel.from_config(BertConfig(vocab_size=30, max_position_embeddings=16, **small))
    )
    with torch.no_grad():
        out = bert(ids)
    yield type(out).__name__, out.last_hidden_state.double().sum().item().hex(), sorted(out.keys())
    yield BertConfig(**small).to_diff_dict()["hidden_size"], transformers.is_torch_available()
    try:
        transformers.NoSuchThing
    except AttributeError as error:
        yield str(error)
    yield (
        transformers.utils.import_utils.__name__,
        transformers.models.bert.modeling_bert.BertModel is type(bert),
    )
