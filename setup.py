# SPDX-License-Identifier: Apache-2.0
import pathlib

import setuptools

MANILA = ["manila>=18,<24"]

# Libraries of each hook and of each mode of delivery.
HOOKS = {
    "background": ["futurist>=3"],
    "durable": ["tenacity>=8.2"],
    "audit": ["pycadf>=3.1"],
    "automount": ["oslo.messaging>=14"],
    "command": [],
    "guard": [
        *("cronsim>=2.6", "PyYAML>=6", "tzdata>=2024.1"),
        # It has no release for Python 3.10.
        "cel-expr-python>=0.1.3; python_version >= '3.11'",
    ],
    "metrics": ["prometheus-client>=0.20"],
    "notification": ["oslo.messaging>=14"],
    "tracing": [
        "opentelemetry-sdk>=1.22",
        "opentelemetry-exporter-otlp-proto-http>=1.22",
    ],
    "webhook": ["requests>=2.31", "tenacity>=8.2"],
}
CLI = ["rich>=13", "shtab>=1.10"]
DEMO = [
    *(*MANILA, "rich>=13", "openstacksdk>=3", "cheroot>=10"),
    *(*HOOKS["durable"], *HOOKS["guard"], *HOOKS["metrics"], *HOOKS["webhook"]),
]
TEST = [
    *("pytest>=8", "pytest-timeout>=2.3", "pytest-xdist>=3.5"),
    *("hypothesis>=6.100", "eventlet>=0.35"),
    *(
        *CLI,
        "docutils>=0.20",
        "cloudevents>=2",
        "cryptography>=42",
        "jsonschema>=4.18",
        "oslo.messaging[kafka]>=14",
        "psycopg2-binary>=2.9.9",
        "python-manilaclient>=4.8",
        "standardwebhooks>=1.1",
        "trustme>=1.2",
    ),
    *sorted({need for needs in HOOKS.values() for need in needs}),
]

setuptools.setup(
    name="manila-aspects",
    version="0.1.0",
    description="Hooks for OpenStack Manila share drivers, without changes to Manila",
    long_description=pathlib.Path(__file__).with_name("README.rst").read_text("utf-8"),
    long_description_content_type="text/x-rst",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=setuptools.find_packages(
        include=["aspects", "aspects.*", "hooks", "hooks.*"]
    ),
    package_data={
        "aspects": ["py.typed"],
        "aspects.cli": ["templates/*"],
        "hooks": ["py.typed"],
        "hooks.events": ["event.schema.json"],
    },
    install_requires=[
        "decorator>=5.1",
        "oslo.config>=9.4",
        "oslo.context>=5.5",
        "oslo.log>=5.5",
        "wrapt>=1.16",
    ],
    extras_require={
        **HOOKS,
        "cli": CLI,
        "manila": MANILA,
        "demo": DEMO,
        "test": TEST,
        "docs": [
            *("furo>=2024.8.6", "reno>=4.1", "sphinx>=7"),
            # The reference of options imports all hooks.
            *sorted({need for needs in HOOKS.values() for need in needs}),
        ],
        "bench": [
            *MANILA,
            "aspectlib>=2",
            "cheroot>=10",
            "matplotlib>=3.8",
            "pluggy>=1.5",
            "pyperf>=2.8",
            "rich>=13",
        ],
    },
    entry_points={
        "console_scripts": [
            "manila-aspects = aspects.cli:main",
            "manila-aspects-automount = hooks.automount:main",
        ],
        "oslo.config.opts": ["manila_aspects = aspects.config.options:list_opts"],
        "manila_aspects.hooks": [
            "audit = hooks.audit:AuditHook",
            "automount = hooks.automount:AutomountHook",
            "command = hooks.command:CommandHook",
            "guard = hooks.guard:GuardHook",
            "metrics = hooks.metrics:MetricsHook",
            "notification = hooks.notification:NotificationHook",
            "tracing = hooks.tracing:TracingHook",
            "webhook = hooks.webhook:WebhookHook",
        ],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: OpenStack",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Typing :: Typed",
    ],
)
