# mypy: ignore-errors
"""Calls into einops: patterns that are parsed and cached, backends that are found."""

import numpy as np
from einops import EinopsError, einsum, pack, parse_shape, rearrange, reduce, repeat, unpack


def run():
    x = np.arange(2 * 3 * 4 * 5, dtype=np.float64).reshape(2, 3, 4, 5)
    yield rearrange(x, "b c (h h2) (w w2) -> (b h2) (c h w) w2", h2=2, w2=1).sum(axis=1).tolist()
    yield reduce(x, "b c h w -> b c", "max").tolist()
    yield repeat(x[0, 0], "h w -> w (h 2)").tolist()
    yield einsum(x, x, "b c h w, b c h v -> b w v").tolist()
    yield parse_shape(x, "b _ h w")
    packed, shapes = pack([x, x[:, :, 0]], "b c *")
    yield packed.shape, [part.shape for part in unpack(packed, shapes, "b c *")]
    try:
        rearrange(x, "a b -> b a")
    except EinopsError as error:
        yield str(error).splitlines()[0]
    from einops._backends import get_backend

    yield type(get_backend(x)).__name__
