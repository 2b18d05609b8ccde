"""SDK users: who registers them, and how long their tokens live."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from gateway.settings.kinds import Count, Section


def _provable(registrar: str, info: ValidationInfo) -> str:
    if registrar == "forward" and not info.data.get("issuers"):
        raise ValueError("must not be forward without issuers: nobody could prove the tokens that are given out there")
    return registrar


Registrar = Annotated[Literal["builtin", "forward"], AfterValidator(_provable)]

# Tokens are made for at most 366 days, as keys are.
Days = Annotated[int, Field(strict=True, ge=1, le=366)]


class UserTokens(Section):
    """The tokens of SDK users. Those that one registration led to, each refreshed into the next, are a family."""

    lifetime_days: Days = Field(default=7, description="How long a user token lives.")
    family_days: Days = Field(
        default=90, description="How long a user's device can go on refreshing before it has to be registered anew."
    )
    # 1 is the vendor's "one active device"; people have a phone, a tablet and an old phone.
    at_most: Annotated[Count, Field(le=100)] = Field(
        default=5, description="How many devices a user has at most; with another one the oldest one's tokens end."
    )
    # Long enough for an answer that was lost to be asked for again, too short to be worth stealing.
    overlap_seconds: Annotated[int, Field(strict=True, ge=1, le=3_600)] = Field(
        default=60, description="How long a refreshed token goes on. Presented later it ends all of its family."
    )
    late_hours: Annotated[int, Field(strict=True, ge=0, le=720)] = Field(
        default=24, description="How long after its end a token can still be refreshed."
    )

    @field_validator("family_days")
    @classmethod
    def _no_shorter_than_a_token(cls, days: int, info: ValidationInfo) -> int:
        if days < info.data.get("lifetime_days", days):
            raise ValueError("must not be shorter than user_tokens.lifetime_days")
        return days
