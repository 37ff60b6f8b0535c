"""Finds components through entry points: loads each plugin alone, and always reports broken or duplicate ones."""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.metadata
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pluggy
from pydantic import BaseModel

from eagbench.contracts import components, executors, hooks, traits
from eagbench.errors import UserError, is_stop
from eagbench.registry.blame import RefusedComponentError, blamed, described, remember
from eagbench.registry.code_places import raised_in_plugin
from eagbench.registry.guards import guarded
from eagbench.registry.listing import Listed, read_listing, write_listing
from eagbench.registry.plugin_modules import GROUP, plugins_of


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of component: the hook that registers it, the protocol its classes follow, the traits it may declare."""

    hook: str
    protocol: type
    traits: type[traits.Traits]


KINDS: Mapping[str, Kind] = {
    "dataset": Kind("register_datasets", components.Dataset, traits.DatasetTraits),
    "expert": Kind("register_experts", components.Expert, traits.ExpertTraits),
    "policy": Kind("register_policies", components.Policy, traits.PolicyTraits),
    "prompt": Kind("register_prompts", components.Prompt, traits.PromptTraits),
    "search": Kind("register_searches", components.Search, traits.SearchTraits),
    "reward": Kind("register_rewards", components.Reward, traits.RewardTraits),
    "method": Kind("register_methods", components.Method, traits.MethodTraits),
    "perturbation": Kind("register_perturbations", components.Perturbation, traits.PerturbationTraits),
    "metric": Kind("register_metrics", components.Metric, traits.MetricTraits),
    "tracker": Kind("register_trackers", components.Tracker, traits.TrackerTraits),
    "executor": Kind("register_executors", executors.Executor, traits.ExecutorTraits),
}


@dataclass(frozen=True, slots=True)
class Registered:
    """A component and the plugin it came from.

    Attributes:
        kind: Its kind.
        name: Its name.
        plugin: The entry point it came from.
        distribution: The distribution of this entry point.
        find: Returns its class, and imports it if necessary.
        former_names: Its former names in a YAML.
    """

    kind: str
    name: str
    plugin: str
    distribution: str
    find: Callable[[], type]
    former_names: tuple[str, ...] = ()

    @property
    def component(self) -> type:
        """Its class.

        Raises:
            UserError: The module of its plugin can no longer be imported.
        """
        found = self.find()
        for made in (found, getattr(found, "Params", found)):
            remember(made, described_owner(self))
        return found


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """An entry point that could not be loaded.

    Attributes:
        plugin: The entry point.
        distribution: Its distribution.
        reason: The error and its place, in one line.
        details: The traceback.
    """

    plugin: str
    distribution: str
    reason: str
    details: str


@dataclass(frozen=True)
class Registry:
    """All components, by kind and name. A duplicate name holds every component that claims it."""

    components: Mapping[tuple[str, str], tuple[Registered, ...]]
    broken: tuple[BrokenPlugin, ...]

    def __iter__(self) -> Iterator[Registered]:
        for claimants in self.components.values():
            yield from claimants

    def names(self, kind: str) -> tuple[str, ...]:
        """List the names registered under a kind, sorted."""
        return tuple(sorted(name for k, name in self.components if k == kind))

    def has(self, kind: str, name: str) -> bool:
        """Tell whether the kind has a component of that name, or former name."""
        return (kind, name) in self.components or (kind, name) in self._formerly

    def get(self, kind: str, name: str, *, where: str | None = None) -> Registered:
        """Find the component of that kind and name, or former name.

        Raises:
            UserError: No component has the name (the message gives the nearest name and broken plugins), or two
                plugins claim it.
        """
        claimants = self.components.get((kind, name)) or self._formerly.get((kind, name), ())
        if not claimants:
            raise self.unknown(kind, (kind,), name, where)
        if len(claimants) > 1:
            owners = ", ".join(f"plugin {c.plugin} of {c.distribution}" for c in claimants)
            raise UserError(
                f"{kind} '{name}' is registered {len(claimants)} times: {owners}",
                where=where,
                hint="uninstall all but one of these packages, or rename the component in one of them",
            )
        return claimants[0]

    @functools.cached_property
    def _formerly(self) -> Mapping[tuple[str, str], tuple[Registered, ...]]:
        found: dict[tuple[str, str], tuple[Registered, ...]] = {}
        for registered in self:
            for former in registered.former_names:
                found[registered.kind, former] = (*found.get((registered.kind, former), ()), registered)
        return found

    def unknown(self, what: str, kinds: tuple[str, ...], name: str, where: str | None) -> UserError:
        """Make the error for a name that none of the kinds has."""
        names = sorted({n for kind in kinds for n in self.names(kind)})
        return UserError(f"there is no {what} called '{name}'", where=where, hint=self._suggestion(names, name))

    def _suggestion(self, names: list[str], name: str) -> str:
        near = difflib.get_close_matches(name, names, n=1)
        parts = [f"did you mean '{near[0]}'?"] if near else []
        parts.append("choices: " + (", ".join(names) or "none"))
        if self.broken:
            parts.append(
                "these plugins could not be loaded (see `eagbench plugins list`): "
                + ", ".join(f"{b.plugin} of {b.distribution} ({b.reason})" for b in self.broken)
            )
        return "; ".join(parts)

    def create(self, kind: str, name: str, params: Mapping[str, Any]) -> Any:
        """Create a component from parameters that were validated before."""
        component: Any = self.get(kind, name).component
        return component(self.params(kind, name, params))

    def params(self, kind: str, name: str, params: Mapping[str, Any]) -> BaseModel:
        """Read a component's parameters as its `Params` model."""
        model: type[BaseModel] = self.get(kind, name).component.Params  # type: ignore[attr-defined]
        return model.model_validate(dict(params))


@functools.cache
def load_registry() -> Registry:
    """Find every component of the `eagbench` entry-point group; import a class only when it is used."""
    listed = read_listing()
    if listed is not None:
        return _registry([_lazily(entry) for entry in listed], ())
    registry = discover()
    if not registry.broken:
        _keep(registry)
    return registry


def discover() -> Registry:
    """Load every plugin of the `eagbench` entry-point group, each alone.

    A plugin that fails to import, has a misspelt hook, or registers something that is not a component is reported in
    `broken` and contributes nothing.
    """
    found: list[Registered] = []
    broken: list[BrokenPlugin] = []
    entry_points = importlib.metadata.entry_points(group=GROUP)
    for entry_point in sorted(entry_points, key=lambda e: (e.name, e.dist.name if e.dist else "")):
        distribution = entry_point.dist.name if entry_point.dist else "unknown"
        try:
            found.extend(_components_of(entry_point, distribution))
        except BaseException as error:
            if is_stop(error):
                raise
            # A plugin may fail in any way, `sys.exit` included; it is named, not hidden.
            reason = f"{described(error)} ({raised_in_plugin(error.__traceback__)})"
            broken.append(BrokenPlugin(entry_point.name, distribution, reason, traceback.format_exc()))
    return _registry(found, tuple(broken))


def _registry(found: Sequence[Registered], broken: tuple[BrokenPlugin, ...]) -> Registry:
    components: dict[tuple[str, str], tuple[Registered, ...]] = {}
    for item in found:
        key = (item.kind, item.name)
        components[key] = (*components.get(key, ()), item)
    return Registry(components, broken)


def _components_of(entry_point: importlib.metadata.EntryPoint, distribution: str) -> list[Registered]:
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hooks)
    manager.register(entry_point.load(), name=entry_point.name)
    manager.check_pending()  # refuses a hook implementation whose name no hook has
    found: list[Registered] = []
    for kind, of_kind in KINDS.items():

        def register(component: type, kind: str = kind) -> None:
            check_component(component, kind)
            found.append(registered(kind, component, entry_point.name, distribution))

        getattr(manager.hook, of_kind.hook)(register=register)
    return found


def registered(kind: str, component: Any, plugin: str, distribution: str) -> Registered:
    """Describe a component class that is already imported."""
    is_said = not isinstance(getattr(component, "traits", None), property)
    former = traits.traits_of(component, KINDS[kind].traits).former_names if is_said else ()
    return Registered(kind, component.name, plugin, distribution, lambda: component, former)


def _lazily(entry: Listed) -> Registered:
    def find() -> type:
        try:
            found: Any = importlib.import_module(entry.module)
            for name in entry.qualname.split("."):
                found = getattr(found, name)
        except BaseException as error:
            if is_stop(error):
                raise
            place = raised_in_plugin(error.__traceback__)
            raise RefusedComponentError(
                f"the plugin '{entry.plugin}' of {entry.distribution} can't be loaded any more: {described(error)} "
                f"({place})",
                hint="install it again, or see `eagbench doctor`",
            ) from error
        component: type = found
        return component

    former = entry.former_names
    return Registered(entry.kind, entry.name, entry.plugin, entry.distribution, functools.cache(find), former)


def _keep(registry: Registry) -> None:
    """Cache the components for other processes, if every class can be imported by its name."""
    listed = []
    packages = {entry.module.partition(".")[0] for entry in importlib.metadata.entry_points(group=GROUP)}
    for item in registry:
        component = item.component
        module, qualname = component.__module__, component.__qualname__
        found: Any = sys.modules.get(module)
        for name in qualname.split("."):
            found = getattr(found, name, None)
        if found is not component:
            return
        listed.append(Listed(item.kind, item.name, item.former_names, module, qualname, item.plugin, item.distribution))
        packages.add(module.partition(".")[0])
    write_listing(listed, {"eagbench", *packages})


def check_component(component: Any, kind: str) -> None:
    """Check that an object is a component of a kind.

    Raises:
        TypeError: It is not a class, has no name or strict `Params`, lacks a member of the protocol (the message names
            it), or declares traits of another kind.
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
    protocol = KINDS[kind].protocol
    wanted = [n for n in vars(protocol) if not n.startswith("_") and callable(getattr(protocol, n))]
    wanted += [n for n in ("__call__",) if n in vars(protocol)]
    # dir, not hasattr: every class can be called, which says nothing of its instances.
    missing = sorted(set(wanted) - set(dir(component)))
    if missing:
        raise TypeError(f"{component.__qualname__} is no {kind}: it lacks {', '.join(missing)}")
    if isinstance(getattr(component, "traits", None), property):
        return  # they depend on the parameters, and are checked when they are read
    try:
        traits.traits_of(component, KINDS[kind].traits)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{component.__qualname__} is no {kind}: {error}") from error


def create_component(identity: Mapping[str, Any]) -> Any:
    """Create the component that a `ComponentUse.identity()` describes, for a stage whose parameters name one.

    A search or a reward is checked against its contract while it works.

    Args:
        identity: `kind`, `name` and validated `params`; its `code` matters for the fingerprint only.
    """
    kind, name = identity["kind"], identity["name"]
    return guarded(load_registry().create(kind, name, identity["params"]), kind, owner(kind, name))


def owner(kind: str, name: str) -> str:
    """Describe a component's owner: kind, name, distribution with its version, plugin and hook."""
    return described_owner(load_registry().get(kind, name))


def described_owner(registered: Registered) -> str:
    """Describe a component's owner: kind, name, distribution with its version, plugin and hook."""
    package, hook = _with_version(registered.distribution), KINDS[registered.kind].hook
    return f"the {registered.kind} '{registered.name}' of {package} (plugin {registered.plugin}, {hook})"


def described_function(function: str) -> str | None:
    """Describe a plugin's own stage function, `module:name`, with its distribution; None for one of the core."""
    module = function.partition(":")[0]
    if module.partition(".")[0] == "eagbench":
        return None
    nearest = plugins_of(module)
    if len({found.distribution for found in nearest}) != 1:
        return f"the function '{function}'"
    names = sorted(found.plugin for found in nearest)
    plugins = f"plugin{'s' if len(names) > 1 else ''} {' or '.join(names)}"
    return f"the function '{function}' of {_with_version(nearest[0].distribution)} ({plugins})"


def _with_version(distribution: str) -> str:
    version = _version(distribution)
    return f"{distribution} {version}" if version else distribution


@functools.cache
def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def answerable(kind: str, name: str) -> AbstractContextManager[None]:
    """Name the component's owner in whatever its calls inside raise, and blame it for writing into its inputs."""
    return blamed(owner(kind, name))
