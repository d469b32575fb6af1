# SPDX-License-Identifier: Apache-2.0
"""Map driver methods to operations, and read the context and arguments of a call."""

from __future__ import annotations

import contextlib
import fnmatch
import inspect
import types
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from oslo_context import context as oslo_context

from aspects.signatures import names_in_manila, parameters_of

#: Operation -> the driver methods behind it, in addition to a method of its own name.
#: Manila documents the first twenty. A test compares them with its share manager.
OPERATIONS: Mapping[str, tuple[str, ...]] = types.MappingProxyType(
    {
        "allow_access": (),
        "deny_access": (),
        "create_share_instance": ("create_share", "create_share_from_snapshot"),
        "create_snapshot": (),
        "delete_share_instance": ("delete_share",),
        "delete_share_server": ("teardown_server",),
        "delete_snapshot": (),
        "extend_share": (),
        "init_host": ("do_setup",),
        "manage_share": ("manage_existing", "manage_existing_with_server"),
        "publish_service_capabilities": ("get_share_stats",),
        "shrink_share": (),
        "unmanage_share": ("unmanage", "unmanage_with_server"),
        "create_share_replica": ("create_replica",),
        "promote_share_replica": ("promote_replica",),
        "delete_share_replica": ("delete_replica",),
        "update_share_replica": ("update_replica_state",),
        "create_replicated_snapshot": (),
        "delete_replicated_snapshot": (),
        "update_replicated_snapshot": (),
        # Manila has hooks for these too, but does not document them.
        # AccessOperation turns some calls of it into allow_access or deny_access.
        "update_access": (),
        "manage_snapshot": (
            "manage_existing_snapshot",
            "manage_existing_snapshot_with_server",
        ),
        "unmanage_snapshot": ("unmanage_snapshot_with_server",),
        "revert_to_snapshot": ("revert_to_replicated_snapshot",),
        "manage_share_server": ("manage_server",),
        "unmanage_share_server": ("unmanage_server",),
        "share_server_migration_check": ("share_server_migration_check_compatibility",),
        "share_server_migration_start": (),
        "share_server_migration_driver_continue": ("share_server_migration_continue",),
        "share_server_migration_complete": (),
        "share_server_migration_cancel": (),
        "share_server_migration_get_progress": (),
        # Manila has no hooks for the rest.
        "create_share_server": ("setup_server",),
        "create_share_group": ("create_share_group_from_share_group_snapshot",),
        "delete_share_group": (),
        "create_share_group_snapshot": (),
        "delete_share_group_snapshot": (),
        "create_backup": (),
        "create_backup_continue": (),
        "delete_backup": (),
        "restore_backup": (),
        "restore_backup_continue": (),
        "migration_start": (),
        "migration_driver_continue": ("migration_continue",),
        "migration_complete": (),
        "migration_cancel": (),
        "snapshot_update_access": (),
        "transfer_accept": (),
        "ensure_shares": ("ensure_share",),
        # Drivers use it to continue an unfinished creation or revert.
        "get_share_status": (),
        "update_share_network_security_service": (
            "update_share_server_security_service",
        ),
        "update_share_server_network_allocations": (),
        "allocate_network": (),
        "allocate_admin_network": (),
        "update_network_allocation": (),
        "update_admin_network_allocation": (),
        "deallocate_network": (),
        "update_share_from_metadata": (),
        "update_share_network_subnet_from_metadata": (),
    }
)

#: Operations that Manila runs by itself, at its start and on timers, and ticks. A hook
#: must not keep a backend, a replica, a migration or a backup from working.
ROUTINE_OPERATIONS = frozenset(
    {
        "init_host",
        "publish_service_capabilities",
        "ensure_shares",
        "update_share_replica",
        "update_replicated_snapshot",
        "get_share_status",
        "migration_driver_continue",
        "share_server_migration_driver_continue",
        "share_server_migration_get_progress",
        "create_backup_continue",
        "restore_backup_continue",
        "periodic",
    }
)

ContextFactory = Callable[[], Any]

_POSITIONAL_ONLY = inspect.Parameter.POSITIONAL_ONLY
_POSITIONAL_OR_KEYWORD = inspect.Parameter.POSITIONAL_OR_KEYWORD


def matches(operation: str, patterns: Iterable[str]) -> bool:
    """Return whether an operation is one of ``hook_operations``.

    :param operation: the operation
    :param patterns: names and glob patterns; one that begins with ``!`` excludes. An
        empty list matches nothing; exclusions alone match everything else
    """
    included = [pattern for pattern in patterns if not pattern.startswith("!")]
    excluded = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    if excluded and not included:
        included = ["*"]

    def matches_any(patterns: list[str]) -> bool:
        return any(fnmatch.fnmatchcase(operation, pattern) for pattern in patterns)

    return matches_any(included) and not matches_any(excluded)


class DetachedContext:
    """Mixin for a request context that does not become the thread's current one.

    A new context of oslo.context or Manila becomes the current context of a thread
    without one, and would be used for all later calls in that thread.
    """

    #: True means that nothing is known about the request: the caller passed no
    #: context, and the thread has no current one.
    is_placeholder = True

    def update_store(self) -> None:
        """Do not become the thread's current context."""


class AdminContext(DetachedContext, oslo_context.RequestContext):
    """An admin context for a hook."""


def new_admin_context() -> oslo_context.RequestContext:
    """Return a new admin context."""
    return AdminContext(is_admin=True)


class Operation(str):
    """The name of an operation, as a hook receives it in ``func_name``.

    It is equal to the plain name, and created once per woven method. A copy is the
    operation itself. Its pickle contains the names of the method's parameters, so that
    loading it needs neither the driver nor Manila.

    :param name: the operation's name
    :param method: the driver method's name
    :param backend: the backend section, or None
    :param host: the share service's host, or None
    :param function: the driver method, for its signature
    :param new_context: returns a context for a call without one
    """

    __slots__ = (
        "_context_name",
        "_new_context",
        "_signature",
        "backend",
        "context_at",
        "host",
        "method",
        "plain",
        "requested",
        "results",
        "vetoes",
    )

    #: The driver method's name.
    method: str
    #: The backend section, or None.
    backend: str | None
    #: The share service's host, or None.
    host: str | None
    #: Whether a user's request caused the call; false for a routine operation, which
    #: Manila runs by itself, at its start or on a timer.
    requested: bool
    #: The vetoes of this call that are not enforced: pairs of hook name and reason.
    vetoes: tuple[tuple[str, str], ...]
    #: The driver's result, for the error methods of a call that a post method fails;
    #: else None. It may be as secret as the arguments, and is not pickled.
    results: Any
    #: Whether the context comes first, and the operation is the same for all calls.
    plain: bool
    #: The position of the context among the driver method's parameters.
    context_at: int | None
    _context_name: str
    _signature: inspect.Signature | None
    _new_context: ContextFactory

    def __new__(
        cls,
        name: str,
        method: str | None = None,
        backend: str | None = None,
        host: str | None = None,
        function: Callable[..., Any] | None = None,
        new_context: ContextFactory = new_admin_context,
    ) -> Operation:
        self = super().__new__(cls, name)
        self.method = method or name
        self.backend = backend
        self.host = host
        self.requested = name not in ROUTINE_OPERATIONS
        self._new_context = new_context
        self._signature, self.context_at, self._context_name = _read(
            self.method, function
        )
        self.vetoes = ()
        self.results = None
        self.plain = self.context_at == 0 and cls is Operation
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self),), (None, self._state())

    def _state(self) -> dict[str, Any]:
        # A result, and a context factory, may be impossible to pickle. A loaded
        # operation does not need them.
        return {
            name: getattr(self, name)
            for cls in type(self).__mro__
            for name in getattr(cls, "__slots__", ())
            if name not in ("_new_context", "results")
        }

    def __copy__(self) -> Operation:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Operation:
        return self

    def of_call(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Operation, Any, tuple[Any, ...], dict[str, Any]]:
        """Return the operation of one call, its context and its other arguments.

        :param args: the caller's positional arguments
        :param kwargs: the caller's keyword arguments
        :return: the operation, the context, the rest of ``args``, the rest of
            ``kwargs``
        """
        context, args, kwargs = self.take_context(args, kwargs)
        return self.for_call(args, kwargs), context, args, kwargs

    def with_veto(self, hook: str, reason: str) -> Operation:
        """Return a copy of this operation with one more veto that is not enforced.

        :param hook: the name of the hook
        :param reason: the text of its veto
        """
        return self._with(vetoes=(*self.vetoes, (hook, reason)))

    def with_results(self, results: Any) -> Operation:
        """Return a copy of this operation with the driver's result.

        :param results: the result
        """
        return self._with(results=results)

    def _with(self, **changes: Any) -> Operation:
        changed = str.__new__(type(self), self)
        unpickled = {"_new_context": self._new_context, "results": self.results}
        for name, value in {**self._state(), **unpickled, **changes}.items():
            setattr(changed, name, value)
        return changed

    def with_changes(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        changes: Mapping[str, Any],
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Replace arguments of a call by parameter name.

        :param args: the caller's positional arguments
        :param kwargs: the caller's keyword arguments
        :param changes: the new values; an argument that the caller omitted is added
        :return: the arguments for the driver method
        :raises TypeError: if the method has no such parameter, or it is the context
        """
        _, positional, keyword = self.take_context(args, kwargs)
        parameters = dict(self._signature.parameters) if self._signature else {}
        by_position = [
            name
            for name, parameter in parameters.items()
            if parameter.kind in (_POSITIONAL_ONLY, _POSITIONAL_OR_KEYWORD)
        ]
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        values, keyword = list(positional), dict(keyword)
        for name, value in changes.items():
            parameter = parameters.get(name)
            if name in by_position[: len(values)]:
                values[by_position.index(name)] = value
            elif parameter is not None and parameter.kind is parameter.VAR_POSITIONAL:
                values[len(by_position) :] = value
            elif name in keyword or (
                name != self._context_name
                and (
                    takes_any or (parameter and parameter.kind is not _POSITIONAL_ONLY)
                )
            ):
                keyword[name] = value
            else:
                raise TypeError(
                    f"UpdatedArguments: {self.method}() has no argument {name!r}"
                )
        if self.context_at is not None and len(args) > self.context_at:
            values.insert(self.context_at, args[self.context_at])
        elif self._context_name in kwargs:
            keyword[self._context_name] = kwargs[self._context_name]
        return tuple(values), keyword

    def for_call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Operation:
        """Return the operation of one call.

        :param args: the positional arguments that a hook gets
        :param kwargs: the keyword arguments that a hook gets
        :return: this operation; for ``update_access``, it depends on the rules of the
            call
        """
        return self

    def matches(self, patterns: Iterable[str]) -> bool:
        """Return whether patterns match this operation, as in ``hook_operations``.

        :param patterns: names and glob patterns; one that begins with ``!`` excludes
        """
        return matches(self, patterns)

    def take_context(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        """Split a call's arguments into its context and the rest.

        :param args: the caller's positional arguments
        :param kwargs: the caller's keyword arguments
        :return: the context, the rest of ``args``, the rest of ``kwargs``; for a call
            without a context, the current context of oslo.context or a new admin
            context
        """
        at = self.context_at
        context = None
        if at is not None and len(args) > at:
            context = args[at]
            args = args[:at] + args[at + 1 :]
        elif self._context_name in kwargs:
            kwargs = dict(kwargs)
            context = kwargs.pop(self._context_name)
        if context is None:
            context = self.current_context()
        return context, args, kwargs

    def current_context(self) -> Any:
        """Return a context for a call without one.

        :return: the current context of oslo.context, or else a new admin context
        """
        return oslo_context.get_current() or self._new_context()

    def arguments(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the arguments of a call by the names of their parameters.

        :param args: the positional arguments that a hook got
        :param kwargs: the keyword arguments that a hook got
        :return: the arguments without the context; positional arguments that do not fit
            the method's signature are under the name ``args``
        """
        try:
            if self._signature is None:
                raise TypeError("the method has no signature")
            bound = self._signature.bind_partial(*args, **kwargs).arguments
        except TypeError:
            return {**kwargs, "args": args} if args else dict(kwargs)
        for parameter in self._signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                bound.update(bound.pop(parameter.name, {}))
        return dict(bound)

    def manila_arguments(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the arguments of a call by the names of Manila's ``ShareDriver``.

        Drivers may rename parameters: ``extend_share(ext_share, ext_size)`` of the
        driver for Quobyte is ``extend_share(share, new_size)`` here.

        :param args: the positional arguments that a hook got
        :param kwargs: the keyword arguments that a hook got
        :return: the arguments without the context. Those of a method that Manila does
            not have are named as for :meth:`arguments`
        """
        arguments = self.arguments(args, kwargs)
        unnamed = arguments.get("args")
        if isinstance(unnamed, tuple) and 0 < len(unnamed) == len(args):
            known = parameters_of(self.method)
            arguments.update(zip(known, args), args=args[len(known) :])
            if len(args) <= len(known):
                del arguments["args"]
        names = tuple(self._signature.parameters) if self._signature else ()
        renamed = names_in_manila(self.method, names)
        return {renamed.get(name, name): value for name, value in arguments.items()}


class AccessOperation(Operation):
    """The operation of ``update_access``, which depends on the rules of a call."""

    __slots__ = ("_allow", "_deny")
    _allow: Operation
    _deny: Operation

    def __new__(cls, name: str, *args: Any, **kwargs: Any) -> AccessOperation:
        self: Any = super().__new__(cls, name, *args, **kwargs)
        self._allow = Operation("allow_access", *args, **kwargs)
        self._deny = Operation("deny_access", *args, **kwargs)
        return self  # type: ignore[no-any-return]

    def for_call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Operation:
        """Return the operation of one call.

        :param args: the positional arguments that a hook gets
        :param kwargs: the keyword arguments that a hook gets
        :return: ``allow_access`` if rules are only added, ``deny_access`` if rules are
            only deleted, or else ``update_access``
        """
        rules = self.arguments(args, kwargs)
        adds, deletes, updates = (
            bool(rules.get(f"{kind}_rules")) for kind in ("add", "delete", "update")
        )
        if adds and not deletes and not updates:
            return self._allow
        if deletes and not adds and not updates:
            return self._deny
        return self


class Interface:
    """The methods of a kind of object that are operations.

    :param operations: operation -> the methods behind it, in addition to a method of
        its own name
    :param routine: the operations that Manila runs by itself
    :param kinds: method -> the class of its operation, if that is not ``kind``
    :param kind: the class of the operations
    """

    def __init__(
        self,
        operations: Mapping[str, tuple[str, ...]],
        routine: Collection[str] = (),
        kinds: Mapping[str, type[Operation]] | None = None,
        kind: type[Operation] = Operation,
    ) -> None:
        self.operations = operations
        self.routine = frozenset(routine)
        #: Method -> its operation.
        self.methods: Mapping[str, str] = types.MappingProxyType(
            {
                method: operation
                for operation, methods in operations.items()
                for method in (operation, *methods)
            }
        )
        self._kinds = dict(kinds or {})
        self._kind = kind

    def operation(
        self,
        method: str,
        function: Callable[..., Any],
        backend: str | None = None,
        host: str | None = None,
        new_context: ContextFactory = new_admin_context,
    ) -> Operation:
        """Return a new operation for one method.

        :param method: the method's name
        :param function: the method
        :param backend: the backend section, or None
        :param host: the service's host, or None
        :param new_context: returns a context for a call without one
        """
        name = self.methods.get(method, method)
        kind = self._kinds.get(method, self._kind)
        operation = kind(name, method, backend, host, function, new_context)
        operation.requested = name not in self.routine
        return operation


#: The interface of share drivers.
DRIVER = Interface(OPERATIONS, ROUTINE_OPERATIONS, {"update_access": AccessOperation})

#: Driver method -> its operation.
METHODS = DRIVER.methods


def _read(
    method: str, function: Callable[..., Any] | None
) -> tuple[inspect.Signature | None, int | None, str]:
    """Find the parameter for the context in a method's signature.

    :return: the signature without it, its position, its name
    """
    signature = _declared(method, function)
    if signature is None:
        return None, None, "context"
    # Names and kinds can be pickled; a default or an annotation may be any object.
    parameters = [
        inspect.Parameter(parameter.name, parameter.kind)
        for parameter in signature.parameters.values()
    ]
    for at, parameter in enumerate(parameters):
        if parameter.name in ("context", "ctxt", "ctx"):
            del parameters[at]
            by_position = parameter.kind in (
                parameter.POSITIONAL_ONLY,
                parameter.POSITIONAL_OR_KEYWORD,
            )
            return (
                inspect.Signature(parameters),
                at if by_position else None,
                parameter.name,
            )
    return inspect.Signature(parameters), None, "context"


def _declared(
    method: str, function: Callable[..., Any] | None
) -> inspect.Signature | None:
    """Return a method's signature, or a base class's that names all parameters.

    The GlusterFS drivers delegate calls and declare ``delete_share(self, *args,
    **kwargs)``. The decorators of Tegile's and the generic driver have such signatures
    too; the latter's calls the share in ``extend_share(context, *args)`` a context.
    """
    owner = attribute(function, "__self__")
    found = [vars(cls).get(method) for cls in type(owner).__mro__]
    declared = [base.__get__(owner) for base in found if inspect.isfunction(base)]
    signatures = []
    for candidate in (function, *declared):
        # Any callable may be used as a method, and its signature may raise any error.
        with contextlib.suppress(Exception):
            signatures.append(inspect.signature(candidate))  # type: ignore[arg-type]
    for signature in signatures:
        kinds = [parameter.kind for parameter in signature.parameters.values()]
        if inspect.Parameter.VAR_POSITIONAL not in kinds:
            return signature
    return signatures[0] if signatures else None


def is_coroutine(method: Any) -> bool:
    """Return whether the return value of a method has to be awaited.

    :param method: a driver method, or any callable
    """
    # A mock of a function has a mock as flags, in which every bit seems to be set.
    flags = getattr(getattr(method, "__code__", None), "co_flags", 0)
    if not isinstance(flags, int):
        return False
    call = type(method).__call__
    return inspect.iscoroutinefunction(method) or inspect.iscoroutinefunction(call)


# Class -> arguments of operations_of() -> functions of the class, operations.
_tables: weakref.WeakKeyDictionary[type, dict[Any, tuple[Any, Any]]] = (
    weakref.WeakKeyDictionary()
)


def operations_of(
    driver: object,
    backend: str | None = None,
    host: str | None = None,
    hook_methods: Iterable[str] = (),
    new_context: ContextFactory = new_admin_context,
    interface: Interface = DRIVER,
) -> Mapping[str, Operation]:
    """Return the operations of a driver by driver method.

    Drivers of one class share them, unless an instance has methods of its own.

    :param driver: any driver instance
    :param backend: the backend section, or None
    :param host: the share service's host, or None
    :param hook_methods: further driver methods, under their own names
    :param new_context: returns a context for a call without one
    :param interface: the methods that are operations
    """
    hook_methods = tuple(hook_methods)
    found = {
        name: function
        for name in {**interface.methods, **dict.fromkeys(hook_methods)}
        if callable(function := _found(driver, name))
    }
    shared = _tables.setdefault(type(driver), {})
    key = (backend, host, hook_methods, new_context, interface)
    functions = _functions(type(driver), found)
    known, table = shared.get(key, (None, None))
    if functions is not None and functions == known:
        return table  # type: ignore[no-any-return]
    table = types.MappingProxyType(
        {
            name: interface.operation(name, function, backend, host, new_context)
            for name, function in found.items()
        }
    )
    if functions is not None:
        shared[key] = (functions, table)
    return table


def _found(driver: object, name: str) -> Any:
    """Return an attribute of a driver that is not set up yet, or None.

    A property is not read, because it may need ``do_setup`` first. Its value becomes an
    operation at the first access after weaving.
    """
    # The class returns a property object for a property, but a callable for a method.
    of_class = attribute(type(driver), name)
    if not callable(of_class) and hasattr(type(of_class), "__get__"):
        return None
    return attribute(driver, name)


def attribute(thing: object, name: str) -> Any:
    """Return an attribute, or None if it does not exist or raises an error."""
    try:
        return getattr(thing, name, None)
    except Exception:
        return None


def _functions(
    cls: type, methods: Mapping[str, Any]
) -> tuple[weakref.ref[Any], ...] | None:
    """Return the functions of a class, to find out later whether they have changed.

    :return: weak references, so that the class can be freed; None if a method is not a
        function of the class
    """
    functions = []
    for name, method in methods.items():
        function = attribute(method, "__func__")
        if not inspect.isfunction(function) or attribute(cls, name) is not function:
            return None
        functions.append(weakref.ref(function))
    return tuple(functions)
