# mypy: ignore-errors
# ruff: noqa: RUF012
"""Calls into WTForms: metaclasses with state, translations as package data, forms from strings."""

import wtforms
from markupsafe import Markup
from wtforms import Form, fields, validators, widgets
from wtforms.csrf.session import SessionCSRF
from wtforms.i18n import DefaultTranslations, get_translations


class Data(dict):
    getlist = dict.__getitem__


class Entry(Form):
    name = fields.StringField("Name", [validators.Length(min=3), validators.DataRequired()])
    age = fields.IntegerField(validators=[validators.NumberRange(1, 9)])
    kind = fields.SelectField(choices=[("a", "A"), ("b", "B")], default="b")
    mail = fields.StringField(validators=[validators.Optional(), validators.Regexp(".+@.+")])

    class Meta:
        locales = ["de"]


class Many(Form):
    entries = fields.FieldList(fields.FormField(Entry), min_entries=2)


def run():
    form = Entry(Data(name=["x"], age=["12"], kind=["c"], mail=["none"]))
    yield form.validate(), form.errors, form.data
    yield str(form.name()), str(form.kind()), str(form.age.label), isinstance(form.name(), Markup)
    yield sorted(get_translations(["fr"]).gettext("This field is required.").split())
    yield isinstance(get_translations(["es"]), DefaultTranslations)
    yield [str(field) for field in Many()], Many(entries=[{"name": "abc"}]).data
    yield str(widgets.TableWidget()(Many().entries[0]))[:400]
    made = type(
        "Made",
        (Form,),
        {
            "when": fields.DateField(default=None),
            "Meta": type(
                "Meta",
                (),
                {"csrf": True, "csrf_class": SessionCSRF, "csrf_secret": b"k", "csrf_context": {}},
            ),
        },
    )
    yield (
        [f.short_name for f in made()],
        made(Data(when=["2020-01-02"], csrf_token=["no"])).validate(),
    )
    yield wtforms.__version__
