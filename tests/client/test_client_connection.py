"""Where address and key come from, and where the key of this machine never goes."""

import pytest
from unroll import AuthenticationError, ConfigurationError, ServerUnreachableError
from unroll.connection import Connection, find_connection


@pytest.fixture
def home(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "url").write_text("http://127.0.0.1:4321\n")
    (tmp_path / "api_key").write_text("home-key\n")
    return tmp_path


def _found(home, **environment):
    return find_connection(environment={"UNROLL_HOME": str(home), **environment})


def test_home_answers_where_nothing_is_named(home):
    assert _found(home) == Connection("http://127.0.0.1:4321", "home-key")


def test_environment_goes_before_home_and_arguments_before_both(home):
    named = {"UNROLL_URL": "https://far.example/", "UNROLL_API_KEY": "named"}
    assert _found(home, **named) == Connection("https://far.example", "named")
    environment = {"UNROLL_HOME": str(home), **named}
    found = find_connection("http://other.example:1", "given", environment=environment)
    assert found == Connection("http://other.example:1", "given")


def test_key_is_read_from_the_file_that_is_named(home, tmp_path):
    (tmp_path / "key").write_text("  filed \n")
    assert _found(home, UNROLL_API_KEY_FILE=str(tmp_path / "key")).api_key == "filed"


def test_key_of_this_machine_is_not_sent_elsewhere(home):
    with pytest.raises(AuthenticationError, match="stays on this machine"):
        _found(home, UNROLL_URL="https://far.example")


def test_key_of_this_machine_is_sent_to_another_port_of_it(home):
    assert _found(home, UNROLL_URL="http://localhost:8000").api_key == "home-key"


def test_key_is_not_in_the_printed_value(home):
    assert "home-key" not in repr(_found(home))


def test_home_without_a_server_says_how_to_start_one(tmp_path):
    with pytest.raises(ServerUnreachableError, match="unroll up"):
        _found(tmp_path)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", "http://", "http://x:99999", "http://[::1"])
def test_unusable_address_is_refused(home, url):
    with pytest.raises(ConfigurationError, match="no address of a server"):
        _found(home, UNROLL_URL=url)


@pytest.mark.parametrize("key", ["schlüssel", "two\nlines"])
def test_key_that_no_header_can_hold_is_refused_unprinted(home, key):
    with pytest.raises(ConfigurationError) as caught:
        _found(home, UNROLL_API_KEY=key)
    assert key not in str(caught.value)


def test_key_file_that_is_missing_is_named(home):
    with pytest.raises(ConfigurationError, match="UNROLL_API_KEY_FILE=/no/such/file"):
        _found(home, UNROLL_API_KEY_FILE="/no/such/file")
