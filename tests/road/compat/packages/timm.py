# mypy: ignore-errors
"""Calls into timm: a registry of models that fills on import, names that are patterns."""

import torch

if not hasattr(torch.ops.torchvision, "nms"):  # a torchvision for CUDA, beside a torch without
    torch.torchvision_library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        torch.torchvision_library.define(f"{operator}(Tensor a, Tensor b, float c) -> Tensor")

import timm
import timm.layers
import timm.models
from timm.models import create_model, list_models, model_entrypoint


def run():
    yield (
        list_models("resnet1*"),
        len(list_models()) > 500,
        timm.models.is_model("vit_tiny_patch16_224"),
    )
    for name, options in (
        ("resnet18", {"num_classes": 3}),
        ("vit_tiny_patch16_224", {"img_size": 32, "patch_size": 8, "num_classes": 2}),
        ("mobilenetv3_small_050", {"features_only": True}),
    ):
        torch.manual_seed(1)
        model = create_model(name, pretrained=False, **options).eval()
        with torch.no_grad():
            out = model(torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32))
        outs = out if isinstance(out, list) else [out]
        yield (
            name,
            type(model).__name__,
            [[tuple(o.shape), o.double().sum().item().hex()] for o in outs],
        )
        yield sum(p.numel() for p in model.parameters())
    yield model_entrypoint("resnet18").__name__, timm.layers.create_act_layer("gelu")._get_name()
    yield model_entrypoint("resnet18").__module__
    yield repr(timm.layers.create_norm_layer("batchnorm2d", 4))
    from timm.optim import create_optimizer_v2
    from timm.scheduler import CosineLRScheduler

    optimizer = create_optimizer_v2(torch.nn.Linear(2, 2), opt="adamw", lr=0.1)
    schedule = CosineLRScheduler(optimizer, t_initial=5)
    schedule.step(2)
    yield type(optimizer).__name__, round(optimizer.param_groups[0]["lr"], 6)
    try:
        create_model("no_such_model")
    except RuntimeError as error:
        yield str(error)
