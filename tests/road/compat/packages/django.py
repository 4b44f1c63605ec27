# mypy: ignore-errors
# ruff: noqa: E501
"""Calls into Django: applications, settings, backends and middleware, all named by strings."""

import django
from django.conf import settings


def setup():
    if not settings.configured:
        settings.configure(
            DEBUG=True,
            SECRET_KEY="k",
            USE_TZ=True,
            ALLOWED_HOSTS=["*"],
            ROOT_URLCONF="compat_exercise",
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            INSTALLED_APPS=["django.contrib.staticfiles", "django.contrib.humanize"],
            SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
            MESSAGE_STORAGE="django.contrib.messages.storage.cookie.CookieStorage",
            MIDDLEWARE=[
                "django.contrib.sessions.middleware.SessionMiddleware",
                "django.contrib.messages.middleware.MessageMiddleware",
                "django.middleware.common.CommonMiddleware",
                "django.middleware.csrf.CsrfViewMiddleware",
            ],
            TEMPLATES=[
                {
                    "BACKEND": "django.template.backends.django.DjangoTemplates",
                    "APP_DIRS": True,
                    "OPTIONS": {
                        "libraries": {
                            "i18n": "django.templatetags.i18n",
                            "humanize": "django.contrib.humanize.templatetags.humanize",
                            "static": "django.templatetags.static",
                        },
                        "context_processors": [
                            "django.template.context_processors.request",
                            "django.contrib.messages.context_processors.messages",
                        ],
                    },
                }
            ],
            PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
            STATIC_URL="/static/",
            LOGGING_CONFIG=None,
        )
        django.setup()


setup()
from django.db import models  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import include, path, reverse  # noqa: E402


class Person(models.Model):
    name = models.CharField(max_length=9)
    boss = models.ForeignKey("self", models.CASCADE, null=True, related_name="team")

    class Meta:
        app_label = "people"


def view(request, number):
    request.session["seen"] = request.session.get("seen", 0) + 1
    return JsonResponse({"number": number, "seen": request.session["seen"]})


urlpatterns = [
    path("n/<int:number>/", view, name="n"),
    path("more/", include(([path("m/", view, {"number": 7}, name="m")], "more"))),
]


def run():
    from django import forms
    from django.core import serializers, signing
    from django.core.management import call_command, get_commands
    from django.db import connection
    from django.db.models import Count, F, Q
    from django.template import Context, Template
    from django.test import Client
    from django.utils import translation
    from django.utils.module_loading import import_string

    if "people_person" not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(Person)
    Person.objects.all().delete()
    boss = Person.objects.create(id=1, name="a")
    Person.objects.bulk_create([Person(id=i, name=f"n{i}", boss=boss) for i in (2, 3)])
    yield list(Person.objects.filter(Q(name="n2") | Q(id=3)).values_list("name", F("id") + 1))
    yield list(Person.objects.annotate(n=Count("boss")).order_by("-n").values_list("n", flat=True))
    yield serializers.serialize("json", Person.objects.filter(id=2)), repr(boss)
    client = Client()
    yield client.get("/n/4/").json(), client.get("/more/m/").json(), reverse("more:m")
    yield client.get("/none/").status_code, b"compat_exercise" in client.get("/none/").content
    page = Template(
        "{% load i18n humanize static %}{% for u in us %}{{ u|upper }}{{ forloop.counter }}{% endfor %}{% trans 'Yes' %}{{ 12345|intcomma }}{% static 'x.css' %}"
    )
    with translation.override("de"):
        yield page.render(Context({"us": ["a", "b"]}))
    yield sorted(get_commands().items())[:3], import_string("django.db.models.F") is F
    call_command("check", verbosity=0)
    yield signing.loads(signing.dumps({"a": 1}, salt="s"), salt="s"), type(connection).__name__
    Form = type(
        "Form",
        (forms.ModelForm,),
        {"Meta": type("Meta", (), {"model": Person, "fields": ["name"]})},
    )
    yield str(Form({"name": "x" * 10}).errors), Form().as_p()
    try:
        import_string("django.nothing.Here")
    except ImportError as error:
        yield type(error).__name__, error.name
