"""Print the table of settings that `docs/configuration.md` has."""

from gglib_runtime.settings.reference import settings_table

print(settings_table())  # noqa: T201 -- printing is what this module is for
