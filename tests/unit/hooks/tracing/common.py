# SPDX-License-Identifier: Apache-2.0
"""What several tests of the tracing hook use."""

SHARE = {"id": "i1", "share_id": "s1"}
ON = "enable_pre_hooks = True\nenable_post_hooks = True\n"


def tree(spans):
    """Return the names of spans, each after those above it."""
    by_id = {span.context.span_id: span for span in spans}

    def path(span):
        above = by_id.get(span.parent.span_id) if span.parent else None
        return (path(above) if above else ()) + (span.name,)

    return sorted(" / ".join(path(span)) for span in spans)


def call(method, *args):
    """Call a method, whatever it raises."""
    try:
        return method(*args)
    except BaseException as error:
        return error


def fail(error):
    def during(*given):
        raise error

    return during


SUCCESS = [
    "create_share_instance",
    "create_share_instance / create_share",
    "create_share_instance / hook.post",
    "create_share_instance / hook.pre",
]
