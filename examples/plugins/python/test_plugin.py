"""Runs without Wasm: PYTHONPATH=.:sdk python3 -m unittest"""

import unittest

from plugin import EMAIL, REGION, TidyOrders
from strait_testing import Record, Tester


class TestOrders(unittest.TestCase):
    def test_orders(self) -> None:
        order = Record(key=b"customer-1", value=b"{}", fields=[(EMAIL, '"a@example.com"'), (REGION, '"\\u0065u"')])
        edits = Tester(TidyOrders, {}).process(Record(key=b"test-1"), order)
        self.assertEqual(edits, ["0 drop", '1 field 0 = "***"', "1 topic = orders-eu"])
