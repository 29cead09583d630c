"""The settings of the project that the tests of the backend use, there and in the daemon's fork server."""

from __future__ import annotations

import os

SECRET_KEY = "of tests"
USE_TZ = True
INSTALLED_APPS = ["bgjob.django", "shop"]
DATABASES = {
    name: {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{os.environ['SHOP_STATE']}/{name}.sqlite3",
        "CONN_MAX_AGE": 60,
        "OPTIONS": {"timeout": 20},
    }
    for name in ("default", "other")
}
if "SHOP_POSTGRESQL" in os.environ:
    server = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["SHOP_POSTGRESQL"],
        "USER": os.environ.get("SHOP_USER", "shop"),
    }
    DATABASES = {name: {**server, "NAME": os.environ[f"SHOP_{name.upper()}"]} for name in DATABASES}
TASKS = {
    "default": {"BACKEND": "bgjob.django.Backend", "QUEUES": ["default", "mail"]},
    "committed": {
        "BACKEND": "bgjob.django.Backend",
        "QUEUES": [],
        "OPTIONS": {"on_commit": "default", "max_retries": 2},
    },
    "outbox": {"BACKEND": "bgjob.django.Backend", "QUEUES": [], "OPTIONS": {"on_commit": "outbox"}},
}
