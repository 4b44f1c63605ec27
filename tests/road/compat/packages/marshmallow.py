# mypy: ignore-errors
"""Calls into marshmallow: schemas that name each other by strings, a registry of classes."""

import datetime
import pickle

from marshmallow import Schema, ValidationError, class_registry, fields, post_load, validate


class AuthorSchema(Schema):
    name = fields.String(required=True, validate=validate.Length(min=2))
    books = fields.List(fields.Nested("BookSchema", exclude=("author",)))
    born = fields.Date()

    @post_load
    def make(self, data, **options):
        return tuple(sorted(data))


class BookSchema(Schema):
    title = fields.String()
    author = fields.Nested("compat_exercise.AuthorSchema", only=("name",))
    price = fields.Decimal(as_string=True)


def run():
    data = {"name": "Ann", "books": [{"title": "T", "price": "1.50"}], "born": "2001-02-03"}
    yield AuthorSchema().load(data)
    yield BookSchema().dump({"title": "T", "author": {"name": "Bo", "born": None}, "price": 2})
    yield class_registry.get_class("AuthorSchema") is AuthorSchema
    yield class_registry.get_class("compat_exercise.BookSchema") is BookSchema
    for wrong in ({"name": "A"}, {"books": [{"title": 3}]}, {"name": "Bob", "other": 1}):
        try:
            AuthorSchema().load(wrong)
        except ValidationError as error:
            yield error.messages, pickle.loads(pickle.dumps(error.messages)) == error.messages
    Made = Schema.from_dict(
        {"at": fields.DateTime(format="iso"), "pair": fields.Tuple((fields.Int(), fields.Str()))},
        name="Made",
    )
    yield Made().dump({"at": datetime.datetime(2020, 1, 2), "pair": ("1", 2)}), Made.__name__
    try:
        class_registry.get_class("NoSuchSchema")
    except Exception as error:
        yield type(error).__name__, str(error)[:40]
