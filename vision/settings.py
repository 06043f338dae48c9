"""The one base class of every config section: frozen, strict, no unknown key."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of a system's config. Assigning to a field or passing an unknown key raises `pydantic.ValidationError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
