"""What MkDocs needs to show this package: the list of public names, and examples as code."""

import inspect
import re

import griffe

NAMESPACES = (
    "models layers losses optimizers evaluation callbacks plotting report datasets checkpoints"
).split()
EXAMPLE = re.compile(r"^( *)>>> .*(?:\n\1.+)*", re.MULTILINE)


def on_page_markdown(markdown, page, **_):
    """Append to the page of the API each public class and function, by namespace."""
    if page.file.src_uri != "api.md":
        return markdown
    import keras_simclr

    sections = [markdown]
    for namespace in NAMESPACES:
        module = getattr(keras_simclr, namespace)
        sections.append(f"## keras_simclr.{namespace}\n\n{module.__doc__}")
        for name, value in vars(module).items():
            if inspect.isclass(value) or inspect.isfunction(value):
                sections.append(f"::: {value.__module__}.{name}")
    return "\n\n".join(sections)


class FenceExamples(griffe.Extension):
    """Put examples, which are doctests, into fences, as MkDocs would take them for quotations."""

    def on_object(self, *, obj, **_):
        """Change the docstring of a class or function."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(_fenced, obj.docstring.value)


def _fenced(match):
    indentation = match.group(1)
    return f"\n{indentation}```python\n{match.group()}\n{indentation}```"
