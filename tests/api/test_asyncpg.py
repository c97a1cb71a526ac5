"""PostgreSQL's other driver, whose errors SQLAlchemy does not all know."""

import pytest
from sqlalchemy.exc import OperationalError

from api.database import database_config, prepare
from api.error_answers import as_service_error


@pytest.mark.parametrize("host", ["127.0.0.1", "host.invalid"])
async def test_a_database_that_is_down_is_503(host):
    engine = prepare(database_config(f"postgresql+asyncpg://user:hidden@{host}:1/x").get_engine())
    with pytest.raises(OperationalError) as caught:
        async with engine.connect():
            pass
    assert as_service_error(caught.value).status == 503
    assert "hidden" not in str(caught.value)
