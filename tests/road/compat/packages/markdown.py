# mypy: ignore-errors
"""Calls into Markdown: extensions that are named by strings, serialisers, nested processors."""

import markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import SimpleTagInlineProcessor

TEXT = """# Title {#top}

| a | b |
|---|--:|
| 1 | *2* |

Term
:   Definition[^1]

!!! note
    An HTML abbreviation and ++plus++.

```python
print("x")
```

*[HTML]: Hyper Text
[^1]: Foot.
"""


class Plus(Extension):
    def extendMarkdown(self, md):
        md.inlinePatterns.register(SimpleTagInlineProcessor(r"()\+\+(.*?)\+\+", "ins"), "ins", 175)


def makeExtension(**options):
    return Plus(**options)


def run():
    every = [
        "tables",
        "def_list",
        "footnotes",
        "attr_list",
        "admonition",
        "toc",
        "meta",
        "nl2br",
        "sane_lists",
        "smarty",
        "wikilinks",
    ]
    paths = [f"markdown.extensions.{name}" for name in every]
    yield markdown.markdown(TEXT, extensions=[*paths, Plus()])
    yield markdown.markdown(
        TEXT, extensions=["compat_exercise", "markdown.extensions.toc:TocExtension"]
    )
    yield markdown.markdown("++a++", extensions=["compat_exercise:Plus"], output_format="xhtml")
    maker = markdown.Markdown(extensions=["markdown.extensions.toc", "markdown.extensions.meta"])
    maker.convert("key: value\n\n# A\n\n## B\n")
    yield maker.toc, maker.Meta, [type(e).__name__ for e in maker.registeredExtensions]
    for wrong in ("markdown.extensions.nope", "compat_nothing"):
        try:
            markdown.markdown("x", extensions=[wrong])
        except ImportError as error:
            yield type(error).__name__, error.name
    yield markdown.__version__
