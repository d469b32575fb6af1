# SPDX-License-Identifier: Apache-2.0
"""What several tests of the tracing hook use."""

SHARE = {"id": "i1", "share_id": "s1"}
ON = "enable_pre_hooks = True\nenable_post_hooks = True\n"


class Driver:
    def __init__(self, during=lambda: None):
        self.during = during

    def create_share(self, context, share, share_server=None):
        return self.during()

    def delete_share(self, context, share, share_server=None):
        return self.during()

    def get_share_stats(self, refresh=False):
        return self.during()

    def update_access(self, context, share, access_rules, add_rules, delete_rules):
        return self.during()


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
