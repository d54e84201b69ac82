"""The register of encrypted columns agrees with the schema."""

from __future__ import annotations

import pytest
from sqlalchemy import Text

from libs.common.runtime.schema.base import WRITERS, metadata
from libs.common.runtime.secrets import ENCRYPTED, EncryptedColumn


@pytest.mark.parametrize("encrypted", ENCRYPTED, ids=str)
def test_column_is_there_keyed_by_its_row_and_written_by_the_security_service(
    encrypted: EncryptedColumn,
) -> None:
    table = metadata.tables[encrypted.table]
    assert [column.name for column in table.primary_key] == [encrypted.key]
    assert isinstance(table.c[encrypted.column].type, Text)
    assert WRITERS[encrypted.table] == ("security",)


def test_rows_and_columns_have_purposes_of_their_own() -> None:
    purposes = {column.purpose(key) for column in ENCRYPTED for key in ("a", "b")}
    assert len(purposes) == 2 * len(ENCRYPTED)
