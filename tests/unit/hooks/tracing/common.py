# SPDX-License-Identifier: Apache-2.0
"""Data and helpers shared by the tests of the tracing hook."""

SHARE = {"id": "i1", "share_id": "s1"}
ON = "enable_pre_hooks = True\nenable_post_hooks = True\n"


def tree(spans):
    """Return the paths of spans, sorted, as in ``parent / child``."""
    by_id = {span.context.span_id: span for span in spans}

    def path(span):
        parent = by_id.get(span.parent.span_id) if span.parent else None
        return (path(parent) if parent else ()) + (span.name,)

    return sorted(" / ".join(path(span)) for span in spans)


def call(method, *args):
    """Return the result of a method, or the exception that it raises."""
    try:
        return method(*args)
    except BaseException as error:
        return error


def fail(error):
    def during(*args):
        raise error

    return during


SUCCESS = [
    "create_share_instance",
    "create_share_instance / create_share",
    "create_share_instance / hook.post",
    "create_share_instance / hook.pre",
]
