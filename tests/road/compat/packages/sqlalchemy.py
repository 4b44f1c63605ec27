# mypy: ignore-errors
"""Calls into SQLAlchemy: generated functions, dialects by strings, a registry of mapped classes."""

import pickle

import sqlalchemy as sa
from sqlalchemy import ForeignKey, create_engine, event, func, select
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    selectinload,
)


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    notes: Mapped[list["Note"]] = relationship(back_populates="user", cascade="all, delete-orphan")

    @hybrid_property
    def shout(self):
        return self.name + "!"


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str | None]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    user: Mapped["User"] = relationship("User", back_populates="notes")


def run():
    engine = create_engine("sqlite://")
    seen = []
    event.listen(engine, "before_cursor_execute", lambda c, u, s, p, x, m: seen.append(s))
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(User(name="a", notes=[Note(text="x"), Note()]))
        session.add(User(name="b"))
        session.commit()
        query = select(User).options(selectinload(User.notes)).order_by(User.shout.desc())
        yield [(u.name, [n.text for n in u.notes]) for u in session.scalars(query)]
        rows = session.execute(
            select(User.name, func.count(Note.id)).outerjoin(Note).group_by(User.id)
        )
        yield sorted(tuple(row) for row in rows)
        user = session.scalars(select(User).where(User.shout == "a!")).one()
        again = pickle.loads(pickle.dumps(user))
        yield again.name, type(again) is User
        row = session.execute(select(User.name, User.id)).first()
        yield row.name, row._asdict(), type(row).__name__, tuple(pickle.loads(pickle.dumps(row)))
        session.delete(user)
        session.commit()
        yield session.scalar(select(func.count()).select_from(Note))
    yield len(seen), [s for s in seen if "INSERT" in s]
    statement = select(User).where(User.id.in_([1, 2]), sa.cast(User.name, sa.String).isnot(None))
    for name in ("postgresql", "mysql", "oracle", "mssql", "sqlite"):
        dialect = __import__(f"sqlalchemy.dialects.{name}", fromlist=["dialect"]).dialect
        yield name, str(statement.compile(dialect=dialect()))
    try:
        create_engine("nosuch://")
    except sa.exc.NoSuchModuleError as error:
        yield str(error)
    yield str(sa.create_mock_engine("postgresql://", lambda *a: None).dialect.name)
