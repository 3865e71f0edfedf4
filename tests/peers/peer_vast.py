"""The official command of Vast.ai against the fake: what it understands, the fake says rightly."""

import json

from peer import Peer
from vast import Vast, offer


class VastCommand(Peer):
    def setUp(self):
        super().setUp()
        self.fake = Vast(self.folder / "fake", offers=[
            offer(101), offer(102, dph_base=0.5), offer(103, gpu_name="H100 SXM", dph_base=2.0)])
        self.addCleanup(self.fake.close)

    def vastai(self, *words, key=None):
        return self.program("vastai", *words, VAST_URL=self.fake.url,
                            VAST_API_KEY=key or self.fake.key)

    def raw(self, *words):
        # What it says to people may follow.
        return json.JSONDecoder().raw_decode(self.vastai(*words, "--raw"))[0]

    def create(self, *more):
        said = self.raw("create", "instance", "101", "--image", "some/image", "--disk", "20",
                        "--label", "cho-peer-1", "--ssh", "--direct", *more)
        return said["new_contract"]

    def wait_until_running(self, number):
        while self.raw("show", "instance", str(number))["actual_status"] != "running":
            pass

    def test_it_searches(self):
        found = self.raw("search", "offers", "gpu_name=RTX_4090 num_gpus=1 rentable=true", "-o",
                         "dph_total")
        self.assertEqual([each["id"] for each in found], [101, 102])
        found = self.raw("search", "offers", "gpu_name=H100_SXM")
        self.assertEqual([each["id"] for each in found], [103])
        cheap = self.raw("search", "offers", "gpu_name=H100_SXM dph_base<1")
        self.assertEqual(cheap, [])

    def test_it_rents_looks_stops_starts_and_destroys(self):
        number = self.create()
        self.wait_until_running(number)
        shown = self.raw("show", "instance", str(number))
        self.assertEqual((shown["label"], shown["machine_id"]), ("cho-peer-1", 151))
        self.assertRegex(self.vastai("ssh-url", str(number)), r"ssh://root@127.0.0.1:\d+")
        self.vastai("stop", "instance", str(number))
        self.assertEqual(self.raw("show", "instance", str(number))["actual_status"], "stopped")
        self.vastai("start", "instance", str(number))
        self.vastai("label", "instance", str(number), "another")
        self.assertEqual(self.fake.labels(), ["another"])
        self.vastai("destroy", "instance", str(number), "-y")
        self.assertEqual(self.fake.alive(), [])
        self.assertIn(number, self.fake.costs())

    def test_its_bid_is_a_bid(self):
        number = self.create("--bid_price", "0.3")
        self.assertTrue(self.fake.instances[number]["is_bid"])
        self.vastai("change", "bid", str(number), "--price", "0.35")
        self.assertEqual(self.fake.instances[number]["dph_base"], 0.35)

    def test_it_understands_the_refusals(self):
        # It says what is wrong and ends with 0 all the same.
        self.assertIn("Invalid user key", self.vastai("show", "user", key="wrong"))
        self.fake.cause("no_such_ask")
        self.assertIn("no_such_ask", self.vastai(
            "create", "instance", "101", "--image", "x", "--disk", "20", "--ssh"))
        self.assertEqual(self.fake.alive(), [])
