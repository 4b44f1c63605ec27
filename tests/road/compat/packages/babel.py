# mypy: ignore-errors
"""Calls into Babel: pickled data files of its own classes, extractors that are named by strings."""

import io
import pickle
from datetime import date, datetime, timedelta

import babel
from babel import Locale, dates, lists, localedata, numbers, plural, support, units
from babel.messages import Catalog, extract, mofile, pofile


def run():
    for name in ("en_US", "de_CH", "ar_EG", "zh_Hant_TW", "pl"):
        locale = Locale.parse(name)
        yield name, locale.get_display_name("en"), locale.display_name, locale.text_direction
        yield (
            numbers.format_currency(12345.678, "EUR", locale=locale),
            numbers.format_percent(0.34, locale=locale),
        )
        yield dates.format_date(date(2024, 2, 29), "full", locale=locale)
        yield dates.format_timedelta(timedelta(days=40), locale=locale), locale.plural_form(3)
        yield (
            units.format_unit(5, "length-kilometer", locale=locale),
            lists.format_list(["a", "b", "c"], locale=locale),
        )
    yield dates.get_timezone_name(dates.get_timezone("Europe/Berlin"), locale="fr")
    yield dates.format_datetime(
        datetime(2020, 5, 6, 7, 8), locale="ja", tzinfo=dates.get_timezone("Asia/Tokyo")
    )
    yield (
        len(localedata.locale_identifiers()) > 300,
        type(Locale("de")._data["plural_form"]).__name__,
    )
    yield (
        isinstance(Locale("de")._data["plural_form"], plural.PluralRule),
        str(Locale("ru").plural_form),
    )
    catalog = Catalog(locale="de")
    catalog.add(("%d apple", "%d apples"), ("%d Apfel", "%d Äpfel"))
    text, binary = io.BytesIO(), io.BytesIO()
    pofile.write_po(text, catalog, omit_header=True)
    mofile.write_mo(binary, catalog)
    binary.seek(0)
    yield (
        text.getvalue().decode(),
        support.Translations(binary).ungettext("%d apple", "%d apples", 4),
    )
    source = io.BytesIO(b"_('hello')\nngettext('one', 'many', 3)\n")
    yield (
        list(extract.extract("python", source)),
        list(extract.extract("babel.messages.extract:extract_nothing", source)),
    )
    yield pickle.loads(pickle.dumps(Locale("en", "GB"))) == Locale("en", "GB")
    yield numbers.parse_decimal("1.234,5", locale="de"), babel.default_locale("LC_NOT_SET") is None
