"""Entry points to components: each plugin is loaded alone, and what is broken or doubled is named, never skipped."""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib.metadata
import inspect
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pluggy
from pydantic import BaseModel

from eagbench import hookspecs, protocols
from eagbench.errors import UserError

GROUP = "eagbench"

# kind -> (hook, the protocol its classes follow)
KINDS: Mapping[str, tuple[str, type]] = {
    "dataset": ("register_datasets", protocols.Dataset),
    "expert": ("register_experts", protocols.Expert),
    "policy": ("register_policies", protocols.Policy),
    "search": ("register_searches", protocols.Search),
    "reward": ("register_rewards", protocols.Reward),
    "method": ("register_methods", protocols.Method),
    "perturbation": ("register_perturbations", protocols.Perturbation),
    "metric": ("register_metrics", protocols.Metric),
    "tracker": ("register_trackers", protocols.Tracker),
}

_SOURCE_SUFFIXES = {".py", ".yaml", ".yml", ".json", ".j2", ".csv"}


@dataclass(frozen=True, slots=True)
class Registered:
    """A component class and the plugin it came from."""

    kind: str
    name: str
    component: type
    plugin: str
    distribution: str


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """An entry point that could not be loaded."""

    plugin: str
    distribution: str
    reason: str
    details: str


@dataclass(frozen=True, slots=True)
class Registry:
    """All components, by kind and name. A doubled name holds all its claimants."""

    components: Mapping[tuple[str, str], tuple[Registered, ...]]
    broken: tuple[BrokenPlugin, ...]

    def __iter__(self) -> Iterator[Registered]:
        for claimants in self.components.values():
            yield from claimants

    def names(self, kind: str) -> tuple[str, ...]:
        """Names registered under a kind, sorted."""
        return tuple(sorted(name for k, name in self.components if k == kind))

    def has(self, kind: str, name: str) -> bool:
        """Whether the kind has a component of that name."""
        return (kind, name) in self.components

    def get(self, kind: str, name: str, *, where: str | None = None) -> Registered:
        """The component of that kind and name.

        Raises:
            UserError: There is none (the nearest name and broken plugins are named), or two plugins claim it.
        """
        claimants = self.components.get((kind, name), ())
        if not claimants:
            raise self.unknown(kind, (kind,), name, where)
        if len(claimants) > 1:
            owners = ", ".join(f"{c.component.__module__} (plugin {c.plugin} of {c.distribution})" for c in claimants)
            raise UserError(
                f"{kind} '{name}' is registered {len(claimants)} times: {owners}",
                where=where,
                mend="uninstall all but one of these packages, or rename the component in one of them",
            )
        return claimants[0]

    def unknown(self, what: str, kinds: tuple[str, ...], name: str, where: str | None) -> UserError:
        """The error for a name that none of the kinds has."""
        names = sorted({n for kind in kinds for n in self.names(kind)})
        return UserError(f"there is no {what} called '{name}'", where=where, mend=self._suggestion(names, name))

    def distribution_of(self, module: str) -> str:
        """The distribution whose plugin a module belongs to, found by the components registered from its package."""
        package = module.partition(".")[0]
        for registered in self:
            if registered.component.__module__.partition(".")[0] == package:
                return registered.distribution
        raise ValueError(f"no registered component comes from the package '{package}'")

    def _suggestion(self, names: list[str], name: str) -> str:
        near = difflib.get_close_matches(name, names, n=1)
        parts = [f"did you mean '{near[0]}'?"] if near else []
        parts.append("choices: " + (", ".join(names) or "none"))
        if self.broken:
            parts.append(
                "these plugins could not be loaded (see `eagbench plugins list`): "
                + ", ".join(f"{b.plugin} of {b.distribution}" for b in self.broken)
            )
        return "; ".join(parts)

    def create(self, kind: str, name: str, params: Mapping[str, Any]) -> Any:
        """An instance of a component, from parameters that were validated before."""
        component: Any = self.get(kind, name).component
        return component(self.params(kind, name, params))

    def params(self, kind: str, name: str, params: Mapping[str, Any]) -> BaseModel:
        """A component's parameters as its model."""
        model: type[BaseModel] = self.get(kind, name).component.Params  # type: ignore[attr-defined]
        return model.model_validate(dict(params))


@functools.cache
def load_registry() -> Registry:
    """Loads every plugin of the `eagbench` entry-point group, each alone.

    A plugin that fails to import, has a misspelt hook, or registers something that is not a component is reported in
    `broken` and contributes nothing.
    """
    components: dict[tuple[str, str], tuple[Registered, ...]] = {}
    broken: list[BrokenPlugin] = []
    entry_points = importlib.metadata.entry_points(group=GROUP)
    for entry_point in sorted(entry_points, key=lambda e: (e.name, e.dist.name if e.dist else "")):
        distribution = entry_point.dist.name if entry_point.dist else "unknown"
        try:
            found = _components_of(entry_point, distribution)
        except Exception as error:  # noqa: BLE001 - a plugin may fail in any way; it is named, not hidden
            last = traceback.format_exception_only(error)[-1].strip()
            broken.append(BrokenPlugin(entry_point.name, distribution, last, traceback.format_exc()))
            continue
        for item in found:
            key = (item.kind, item.name)
            components[key] = (*components.get(key, ()), item)
    return Registry(components, tuple(broken))


def _components_of(entry_point: importlib.metadata.EntryPoint, distribution: str) -> list[Registered]:
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(entry_point.load(), name=entry_point.name)
    manager.check_pending()  # refuses a hook implementation whose name no hook has
    found: list[Registered] = []
    for kind, (hook, protocol) in KINDS.items():

        def register(component: type, kind: str = kind, protocol: type = protocol) -> None:
            check_component(component, kind, protocol)
            found.append(Registered(kind, component.name, component, entry_point.name, distribution))  # type: ignore[attr-defined]

        getattr(manager.hook, hook)(register=register)
    return found


def check_component(component: Any, kind: str, protocol: type) -> None:
    """Refuses what is no component of a kind.

    Raises:
        TypeError: It is no class, has no name or strict `Params`, or lacks something of the protocol (named).
    """
    if not inspect.isclass(component):
        raise TypeError(f"register takes a {kind} class, got {component!r}")
    if not isinstance(getattr(component, "name", None), str):
        raise TypeError(f"{component.__qualname__}: a {kind} needs a class attribute `name: str`")
    params = getattr(component, "Params", None)
    if not (inspect.isclass(params) and issubclass(params, BaseModel)):
        raise TypeError(f"{component.__qualname__}: a {kind} needs a pydantic model `Params`")
    if params.model_config.get("extra") != "forbid":
        raise TypeError(f"{component.__qualname__}.Params must forbid unknown keys: derive from StrictParams")
    wanted = [n for n in vars(protocol) if not n.startswith("_") and callable(getattr(protocol, n))]
    wanted += [n for n in getattr(protocol, "__annotations__", {}) if n not in {"name", "Params"}]
    wanted += [n for n in ("__call__",) if n in vars(protocol)]
    # dir, not hasattr: every class can be called, which says nothing of its instances.
    missing = sorted(set(wanted) - set(dir(component)))
    if missing:
        raise TypeError(f"{component.__qualname__} is no {kind}: it lacks {', '.join(missing)}")


def create_component(identity: Mapping[str, Any]) -> Any:
    """The component that a `ComponentUse.identity()` describes, for a stage whose parameters name one.

    Args:
        identity: `kind`, `name` and validated `params`; its `code` is there for the fingerprint only.
    """
    return load_registry().create(identity["kind"], identity["name"], identity["params"])


@functools.cache
def code_version(component: Any, distribution: str) -> str:
    """Version of the code behind a component class or a stage's function.

    It is the version of its distribution and the hash of its plugin's source: of the folder that the plugin's
    entry-point module stands in, since a component may use all that lies there, or of its own package if it came
    through no entry point.

    The source is hashed whether the plugin is editable or not, so that a patched copy never passes for the original.
    A component whose numbers come from an optional package names it in a class attribute `packages: tuple[str, ...]`;
    their versions are added.

    Raises:
        UserError: One of these packages is not installed.
    """
    source = inspect.getsourcefile(component)
    version = f"{distribution}=={importlib.metadata.version(distribution)}"
    if source is not None:
        version += f"+{source_hash(_versioned_source(component.__module__, Path(source), distribution))}"
    return ";".join([version, *(_package_version(name, component) for name in getattr(component, "packages", ()))])


def _versioned_source(module: str, source: Path, distribution: str) -> Path:
    """The plugin's folder, else the component's own package, else its module's file."""
    folder = _plugin_folder(module, distribution)
    if folder is not None:
        return folder
    return source.parent if (source.parent / "__init__.py").exists() else source


def _package_version(package: str, component: Any) -> str:
    try:
        return f"{package}=={importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(
            f"'{component.name}' needs the package {package}, which is not installed", mend=f"pip install {package}"
        ) from error


def _plugin_folder(module: str, distribution: str) -> Path | None:
    """The folder of the plugin that a module belongs to; None if no entry point of the distribution stands there."""
    for entry_point in importlib.metadata.distribution(distribution).entry_points.select(group=GROUP):
        package = entry_point.module.rpartition(".")[0] or entry_point.module
        loaded = sys.modules.get(package)
        if f"{module}.".startswith(f"{package}.") and hasattr(loaded, "__path__"):
            return Path(next(iter(loaded.__path__)))  # type: ignore[union-attr]
    return None


def source_hash(path: Path) -> str:
    """First 16 hex digits of the hash over a source file, or over all source files below a folder."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in _SOURCE_SUFFIXES)
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(path if path.is_dir() else path.parent).as_posix().encode() + b"\0")
        digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
