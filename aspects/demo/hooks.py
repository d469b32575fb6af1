# SPDX-License-Identifier: Apache-2.0
"""The hooks that only the demo has."""

from __future__ import annotations

from typing import Any

from oslo_config import cfg

import aspects


class AliasHook(aspects.HookBase):
    """Publish new shares under a host name instead of an address."""

    options = (
        cfg.StrOpt(
            "alias_name",
            mutable=True,
            help="Host name that replaces the address in export locations.",
        ),
    )

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing: there are no export locations yet."""

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> aspects.UpdatedResults | None:
        """Replace the address in the locations for users.

        :returns: the new locations, which replace the driver's
        """
        name = self.get_config_option("alias_name")
        if func_name != "create_share_instance" or not name:
            return None
        if not isinstance(driver_action_results, list):
            return None
        return aspects.UpdatedResults(
            [
                location
                if location["is_admin_only"]
                else {**location, "path": _renamed(location["path"], name)}
                for location in driver_action_results
            ]
        )

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing."""


def _renamed(path: str, name: str) -> str:
    address, separator, rest = path.partition(":")
    # Two addresses need two names, or two locations would be equal.
    return f"{name}-{address.rpartition('.')[2]}{separator}{rest}"


class OwnerHook(aspects.HookBase):
    """Record the user who creates a share in its metadata."""

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> aspects.UpdatedArguments | None:
        """Complete the request.

        :returns: the metadata of the new share
        """
        if func_name != "create_share":
            return None
        metadata = func_name.arguments(args, kwargs).get("metadata") or {}
        owner = {"owner": context.user_id}
        return aspects.UpdatedArguments({"metadata": {**metadata, **owner}})

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Do nothing."""

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing."""


class WitnessHook(aspects.HookBase):
    """Do nothing; the demo shows that each method runs."""

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing."""

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Do nothing."""

    def _execute_error_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        error: BaseException,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Do nothing."""

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing."""
