"""What the site adds to MkDocs: pages outside docs/, the files that they link to, the notebooks, the API reference."""

from __future__ import annotations

import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
# The package as the API reference reads it: links to its parts alone. Where the whole repository is linked under the
# package's name, the reader follows that link inside itself forty times, each time through the virtual environment.
PACKAGE = ROOT / "build" / "package" / "lopsided"
NOTEBOOKS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks").glob("*.ipynb"))
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/RESULTS.md", *NOTEBOOKS]
LANGUAGES = {".py": "python", ".yaml": "yaml", ".json": "json", ".cff": "yaml"}
LINK = re.compile(r"(?<=\]\()([\w./-]+)(\.(?:py|yaml|json|cff|ipynb))(?=[)#])")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Link the package's parts, and list the API reference in the navigation."""
    _link_package()
    pages = [{door.path.removeprefix("lopsided."): f"api/{door.path}.md"} for door in _doors()]
    config.nav = [*(config.nav or []), {"API": pages}]
    return config


@event_priority(100)  # before the plugins look at the files
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every page under its path in the repository, so that its links hold here as they do there."""
    pages = [*(ROOT / page for page in PAGES), *sorted((ROOT / "docs").glob("*.md"))]
    linked = {path for page in pages if page.suffix == ".md" for path in _linked(page)}
    for page in pages:
        name = page.relative_to(ROOT).as_posix()
        if page.suffix == ".ipynb":
            for path, content in _of_notebook(page).items():
                files.append(File.generated(config, path, content=content))
        else:
            files.append(File.generated(config, name, abs_src_path=str(page)))
    for picture in (ROOT / "docs").rglob("*.png"):
        files.append(File.generated(config, picture.relative_to(ROOT).as_posix(), abs_src_path=str(picture)))
    for source in sorted(linked - set(pages)):
        name = source.relative_to(ROOT).as_posix()
        text = f"# {name}\n\n````{LANGUAGES[source.suffix]}\n{source.read_text(encoding='utf-8')}\n````\n"
        files.append(File.generated(config, f"sources/{name}.md", content=text))
    for door in _doors():
        files.append(File.generated(config, f"api/{door.path}.md", content=_reference(door)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links to source files to the pages that show them."""
    here = Path(page.file.src_uri).parent

    def shown(link: re.Match[str]) -> str:
        if link[2] == ".ipynb":
            return f"{link[1]}.md"
        target = (ROOT / here / link[0]).resolve().relative_to(ROOT).as_posix()
        return f"{'../' * len(here.parts)}sources/{target}.md"

    return LINK.sub(shown, markdown)


def _linked(page: Path) -> set[Path]:
    """Return the source files that a page links to."""
    links = LINK.finditer(page.read_text(encoding="utf-8"))
    return {path for link in links if (path := (page.parent / link[0]).resolve()).suffix in LANGUAGES}


def _of_notebook(notebook: Path) -> dict[str, str | bytes]:
    """Return the notebook as a page with the outputs that it is committed with, and its pictures, by path."""
    import nbformat
    from nbconvert import MarkdownExporter

    folder = notebook.parent.relative_to(ROOT).as_posix()
    # Pictures of all notebooks are in one folder.
    unique = {"unique_key": notebook.stem, "output_files_dir": f"{notebook.stem}_files"}
    text, resources = MarkdownExporter().from_notebook_node(nbformat.read(notebook, as_version=4), resources=unique)
    pictures = {f"{folder}/{name}": content for name, content in resources["outputs"].items()}
    return {f"{folder}/{notebook.stem}.md": text, **pictures}


def _link_package() -> None:
    shutil.rmtree(PACKAGE.parent, ignore_errors=True)
    PACKAGE.mkdir(parents=True)
    for part in (*ROOT.glob("*.py"), *(init.parent for init in ROOT.glob("[a-z]*/__init__.py"))):
        (PACKAGE / part.name).symlink_to(part)


@cache
def _doors() -> list[griffe.Module]:
    """Return the packages that export something, the names in their ``__all__``."""
    package = griffe.load("lopsided", search_paths=[str(PACKAGE.parent)])
    found, waiting = [], [package]
    while waiting:
        module = waiting.pop(0)
        inner = [child for child in module.modules.values() if not child.is_alias and child.is_init_module]
        waiting = sorted(inner, key=lambda child: child.path) + waiting
        found += [module] if module.exports else []
    return found


def _reference(door: griffe.Module) -> str:
    """Return the page of a package: its classes and functions in full, and the names of its constants."""
    names = [str(name) for name in door.exports or ()]
    explained = [name for name in names if _is_explained(door, name)]
    summary = (door.docstring.value if door.docstring else "").split("\n\n")[0]
    constants = ", ".join(f"`{name}`" for name in names if name not in explained)
    page = [f"# `{door.path}`", summary, *(f"::: {door.path}.{name}" for name in explained)]
    return "\n\n".join([*page, f"Constants and types: {constants}."] if constants else page)


def _is_explained(door: griffe.Module, name: str) -> bool:
    try:
        found = door[name]
        found = found.final_target if isinstance(found, griffe.Alias) else found
    except (KeyError, griffe.AliasResolutionError):  # a constant that is assigned together with another
        return False
    return found.is_class or found.is_function


class PlainText(griffe.Extension):
    """Turns the reStructuredText that docstrings use, roles and literal blocks, into Markdown."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object."""
        if obj.docstring:
            text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", obj.docstring.value)
            obj.docstring.value = re.sub(r"::$", ":", text.replace("``", "`"), flags=re.MULTILINE)
