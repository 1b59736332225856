"""What was ordered over HTTP, on disk."""

import os
import subprocess
import sys

import pytest

from langchain_finetune.serving import orders
from langchain_finetune.serving.orders import OrderBook, is_alive, this_process

DAY = 86_400.0


@pytest.fixture
def book(tmp_path):
    return OrderBook(tmp_path / "serving.sqlite", clock=lambda: 100 * DAY)


def test_an_order_is_found_by_its_route_alone(book):
    order = book.add("/finetune")
    assert book.find(order.id, "/finetune") == order
    assert book.find(order.id, "/other") is None
    assert book.find("order-unknown", "/finetune") is None
    assert (order.status, order.job_id, order.is_handed_on) == ("preparing", None, None)


def test_no_two_orders_have_an_id_that_can_be_guessed(book):
    ids = {book.add("/finetune").id for _ in range(20)}
    assert len(ids) == 20
    assert all(len(order_id) == len("order-") + 32 for order_id in ids)


def test_an_order_is_changed_by_its_process_alone(book, monkeypatch):
    order = book.add("/finetune")
    monkeypatch.setattr(orders, "this_process", lambda: "1:other")
    taken = book.take_over(order)
    assert taken.owner == "1:other"
    assert book.take_over(order) is None
    assert book.change(order, status="failed").status == "preparing"
    assert book.change(taken, status="placed", job_id="j", is_reused=1, is_handed_on=0).is_handed_on is False


def test_orders_of_long_ago_are_forgotten(tmp_path):
    path = tmp_path / "serving.sqlite"
    old = OrderBook(path, clock=lambda: 0.0).add("/finetune")
    young = OrderBook(path, clock=lambda: 50 * DAY).add("/finetune")
    book = OrderBook(path, clock=lambda: 100 * DAY)
    book.add("/finetune")
    assert book.find(old.id, "/finetune") is None
    assert book.find(young.id, "/finetune") == young


def test_a_process_is_told_from_all_others():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_alive(this_process())
    assert is_alive(f"{os.getppid()}:its-own")
    assert not is_alive(f"{ended.pid}:gone")
    assert not is_alive(f"{os.getpid()}:an-earlier-one-of-this-number")
