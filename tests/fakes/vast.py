"""A fake Vast.ai: its HTTP interface, offers for rent, containers that really run, a bill.

Faults, by `cause`: rate_limit {retry_after, path}, server_error {path}, bid_rises (others bid more
between the search and the create), lose_reply (a create that is done and
not answered), drop (a create that is neither), no_such_ask, insufficient_credit, hide {seconds}
(the next instance appears in lists that much later), partial_list, slow_delete {seconds},
refuse_delete, boot_error, slow_boot {seconds}, broken_gpu (nvidia-smi shows none), hold_reply (a
create is done, and answered only after `let_go`), hold_create (a create waits for `let_go`, then is
done).
"""

import json
import operator
import pathlib
import shutil
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from container import Container
from fake import Fake, LostReply, Refusal

OPERATORS = {
    "eq": operator.eq, "neq": operator.ne, "gt": operator.gt, "gte": operator.ge,
    "lt": operator.lt, "lte": operator.le,
    "in": lambda have, list_: have in list_, "notin": lambda have, list_: have not in list_}
CONTROL = ("order", "type", "limit", "allocated_storage")
GB_HOURS = 30 * 24  # storage is priced by the month


def offer(number, **facts):
    """An offer as a search shows it."""
    row = {
        "id": number, "ask_contract_id": number, "bundle_id": number + 1000,
        "machine_id": number + 50,
        "host_id": 7, "gpu_name": "RTX 4090", "num_gpus": 1, "gpu_ram": 24564, "cpu_cores": 64,
        "cpu_cores_effective": 16.0, "cpu_ram": 257000, "disk_space": 500.0, "inet_up": 800.0,
        "inet_down": 900.0, "inet_up_cost": 0.003, "inet_down_cost": 0.003, "reliability": 0.995,
        "reliability2": 0.995, "dph_base": 0.40, "min_bid": 0.20, "storage_cost": 0.144,
        "rentable": True, "rented": False, "external": False, "verified": True,
        "verification": "verified", "static_ip": True, "direct_port_count": 42,
        "geolocation": "Berlin, DE", "duration": 8640000.0, "cuda_max_good": 12.8,
        "compute_cap": 890, "datacenter": False, "dlperf": 95.2}
    row.update(facts)
    return row


def matches(row, filters):
    for field, tests in filters.items():
        if field in CONTROL:
            continue
        have = row.get(field)
        if field == "geolocation":
            have = (have or "").rpartition(", ")[2]
        for word, wanted in tests.items():
            if isinstance(have, (int, float)) and isinstance(wanted, str):
                wanted = float(wanted)  # the official client sends numbers as texts
            if have is None or not OPERATORS[word](have, wanted):
                return False
    return True


class Vast(Fake):
    def __init__(self, folder, key="vast-account-key", offers=None):
        self.folder = pathlib.Path(folder)
        self.key = key
        self.credit = 25.0
        offers = offers or [offer(101), offer(102, dph_base=0.5)]
        self.offers = {each["id"]: each for each in offers}
        self.instances = {}  # id -> row, with what is ours below "_"
        self.last_id = 5000
        self.held, self.released = threading.Event(), threading.Event()
        super().__init__()

    def close(self):
        super().close()
        for row in list(self.instances.values()):
            row["_"]["container"].remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    # What a test asks and does ----------------------------------------------------------------

    def hold(self):
        self.held.set()
        self.released.wait(60)

    def let_go(self):
        self.released.set()

    def alive(self):
        with self.lock:
            return sorted(self.instances)

    def labels(self):
        with self.lock:
            return sorted(row["label"] for row in self.instances.values())

    def outbid(self, number):
        """Others bid more: it is stopped, and its disk goes on costing."""
        with self.lock:
            row = self.instances[number]
            row["min_bid"] = row["dph_base"] * 2
            row.update(actual_status="stopped", cur_state="stopped", next_state="stopped",
                       intended_status="stopped")
            self.charge(row)
        row["_"]["container"].stop()

    def bid_wins_again(self, number):
        with self.lock:
            row = self.instances[number]
            self.charge(row)
            row["min_bid"] = row["dph_base"] / 2
            row.update(actual_status="running", cur_state="running", next_state="running",
                       intended_status="running")
        row["_"]["container"].start()

    def take_offline(self, number):
        with self.lock:
            row = self.instances[number]
            self.charge(row)
            row["actual_status"] = "offline"
        row["_"]["container"].stop()

    def costs(self):
        """USD by instance, of all that ever lived."""
        with self.lock:
            for row in self.instances.values():
                self.charge(row)
            total = {}
            for number, usd in self.bill:
                total[number] = total.get(number, 0) + usd
            return total

    # Books ------------------------------------------------------------------------------------

    def charge(self, row):
        """To now, for the state that it has been in."""
        own, now = row["_"], self.now()
        hours = (now - own["charged"]) / 3600
        own["charged"] = now
        price = row["storage_cost"] * row["disk_space"] / GB_HOURS
        if row["actual_status"] == "running":
            price += row["dph_base"]
        self.bill.append((row["id"], price * hours))

    # HTTP -------------------------------------------------------------------------------------

    def answer(self, request):
        method, path = request["method"], request["path"]
        if (method, path) == ("GET", "/api/v0/gpu_names/unique/"):
            names = sorted({each["gpu_name"] for each in self.offers.values()})
            return {"success": True, "gpu_names": names}
        parts = [part for part in path.split("/") if part]
        number = int(parts[3]) if len(parts) > 3 and parts[3].isdigit() else None
        self.authorise(request, number)
        if parts[:3] == ["api", "v0", "users"]:
            return {"id": 77, "email": "me@lab.org", "credit": self.credit, "balance": 0}
        if parts[:3] == ["api", "v0", "bundles"] and method == "POST":
            return {"offers": self.search(request["body"])}
        if parts[:3] == ["api", "v0", "asks"] and method == "PUT":
            return self.create(number, request["body"])
        if parts[:3] == ["api", "v1", "instances"] and method == "GET":
            return self.list(request["query"])
        if parts[:3] == ["api", "v0", "instances"]:
            if len(parts) == 5 and parts[3] == "bid_price" and method == "PUT":
                return self.set_price(int(parts[4]), request["body"])
            if method == "GET":
                return {"instances": self.shown(self.instances.get(number))}
            if method == "DELETE":
                return self.destroy(number)
            if method == "PUT":
                return self.change(number, request["body"])
        raise Refusal(404, {"success": False, "error": "not_found", "msg": f"no {method} {path}"})

    def authorise(self, request, number):
        told = request["headers"].get("Authorization", "")
        row = self.instances.get(number)
        own_key = row and told == f"Bearer {row['_']['key']}"
        if told != f"Bearer {self.key}" and not own_key:
            raise Refusal(401, {"success": False, "error": "auth_error", "msg": "Invalid user key"})

    def search(self, filters):
        is_bid = filters.get("type") in ("bid", "interruptible")
        disk = filters.get("allocated_storage", 10)
        rows = []
        for each in self.offers.values():
            if not matches(each, filters):
                continue
            row = dict(each)
            base = row["min_bid"] if is_bid else row["dph_base"]
            row["dph_total"] = base + row["storage_cost"] * disk / GB_HOURS
            row["is_bid"] = is_bid
            rows.append(row)
        rows.sort(key=lambda row: row["dph_total"])
        return rows[:filters.get("limit", 64)]

    def create(self, ask, body):
        if self.due("drop"):
            raise LostReply
        if self.due("hold_create"):
            self.hold()
        with self.lock:
            chosen = self.offers.get(ask)
            if self.due("no_such_ask") or chosen is None or chosen["rented"]:
                raise Refusal(404, {
                    "success": False, "error": "no_such_ask", "ask_id": ask, "msg":
                    f"error 404/3603: no_such_ask Instance type by id {ask} is not available."})
            if self.due("insufficient_credit"):
                raise Refusal(400, {"success": False, "error": "insufficient_credit",
                                    "msg": "Your account lacks credit."})
            if body.get("disk", 0) < 8 or not body.get("image"):
                raise Refusal(400, {"success": False, "error": "invalid_args",
                                    "msg": "disk, image"})
            bid = body.get("price")
            if self.due("bid_rises"):
                chosen["min_bid"] = bid * 1.5
            row = self.make(chosen, body, bid)
        if bid is not None and bid < chosen["min_bid"]:
            # An error, and yet an instance that stands still and costs.
            row.update(actual_status=None, cur_state="stopped", next_state="stopped",
                       intended_status="stopped")
            raise Refusal(400, {"success": False, "error": "invalid_price",
                                "msg": "bid is below the minimum", "new_contract": row["id"]})
        if not self.due("boot_error"):
            row["_"]["container"].start()
        else:
            row.update(actual_status="created",
                       status_msg="Error response from daemon: OCI runtime create failed")
        if self.due("lose_reply"):
            raise LostReply
        if self.due("hold_reply"):
            self.hold()
        return {"success": True, "new_contract": row["id"], "instance_api_key": row["_"]["key"]}

    def gpus(self, chosen):
        if self.due("broken_gpu"):
            return []
        return [(f"NVIDIA GeForce {chosen['gpu_name']}", chosen["gpu_ram"])] * chosen["num_gpus"]

    def make(self, chosen, body, bid):
        chosen["rented"] = True
        chosen["rentable"] = False
        self.last_id += 1
        number, now = self.last_id, self.now()
        key = f"key-of-{number}"
        environment = {"CONTAINER_ID": str(number), "CONTAINER_API_KEY": key,
                       "VAST_CONTAINERLABEL": f"C.{number}", **(body.get("env") or {})}
        hidden, slow = self.due("hide"), self.due("slow_boot")
        own = {"key": key, "charged": now, "ask": chosen["id"],
               "container": Container(self.folder / str(number), environment, body.get("onstart"),
                                      self.gpus(chosen)),
               "visible": now + (hidden["seconds"] if hidden else 0),
               "boots": now + (slow["seconds"] if slow else 0), "gone": None}
        row = {
            "id": number, "machine_id": chosen["machine_id"], "host_id": chosen["host_id"],
            "label": body.get("label"), "actual_status": "loading", "intended_status": "running",
            "cur_state": "running", "next_state": "running", "status_msg": "",
            "image_uuid": body["image"], "image_runtype": body.get("runtype", "ssh"),
            "extra_env": [], "onstart": body.get("onstart"), "ssh_host": "127.0.0.1",
            "ssh_port": own["container"].port, "public_ipaddr": "127.0.0.1", "ports": None,
            "is_bid": bid is not None, "min_bid": chosen["min_bid"],
            "dph_base": bid if bid is not None else chosen["dph_base"],
            "storage_cost": chosen["storage_cost"], "disk_space": body["disk"], "start_date": now,
            "end_date": now + chosen["duration"], "gpu_name": chosen["gpu_name"],
            "num_gpus": chosen["num_gpus"], "geolocation": chosen["geolocation"],
            "verification": "verified", "_": own}
        row["dph_total"] = row["dph_base"] + row["storage_cost"] * body["disk"] / GB_HOURS
        self.instances[number] = row
        return row

    def shown(self, row):
        """As it is now; what was being destroyed is gone when its time has come."""
        with self.lock:
            if row is None:
                return None
            own, now = row["_"], self.now()
            if own["gone"] is not None and now >= own["gone"]:
                self.forget(row)
                return None
            booted = own["container"].is_ready() and now >= own["boots"]
            if row["actual_status"] == "loading" and booted:
                self.charge(row)
                port = own["container"].port
                row.update(actual_status="running", status_msg="success, running", ports={
                    "22/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(port)}]})
            return {key: value for key, value in row.items() if key != "_"}

    def list(self, query):
        filters = json.loads(query.get("select_filters", "{}"))
        limit, after = int(query.get("limit", 25)), int(query.get("after_token", 0))
        with self.lock:
            rows = [self.shown(row) for row in list(self.instances.values())
                    if row["_"]["visible"] <= self.now()]
        rows = [row for row in rows if row and row["id"] > after and matches(row, filters)]
        rows.sort(key=lambda row: row["id"])
        page = rows[:limit]
        token = str(page[-1]["id"]) if len(rows) > limit else None
        if self.due("partial_list"):
            page = page[1:]
        return {"success": True, "instances_found": len(rows), "total_instances": len(rows),
                "next_token": token, "instances": page}

    def known(self, number):
        row = self.instances.get(number)
        if row is None:
            raise Refusal(404, {"success": False, "error": "no_such_instance",
                                "msg": f"Instance {number} not found."})
        return row

    def destroy(self, number):
        with self.lock:
            row = self.known(number)
            if self.due("refuse_delete"):
                raise Refusal(200, {"success": False, "error": "busy", "msg": "try again later"})
            slow = self.due("slow_delete")
            if slow:
                row["_"]["gone"] = self.now() + slow["seconds"]
            elif row["_"]["gone"] is None:
                self.forget(row)
        return {"success": True}

    def forget(self, row):
        self.charge(row)
        self.instances.pop(row["id"], None)
        chosen = self.offers.get(row["_"]["ask"])
        if chosen:
            chosen.update(rented=False, rentable=True)
        row["_"]["container"].remove()

    def change(self, number, body):
        with self.lock:
            row = self.known(number)
            if "label" in body:
                row["label"] = body["label"]
            state = body.get("state")
            if state == "stopped":
                self.charge(row)
                row.update(actual_status="stopped", cur_state="stopped", next_state="stopped",
                           intended_status="stopped")
        if state == "stopped":
            row["_"]["container"].stop()
        if state == "running":
            self.bid_wins_again(number)
        return {"success": True}

    def set_price(self, number, body):
        with self.lock:
            row = self.known(number)
            self.charge(row)
            row["dph_base"] = body.get("price") or row["min_bid"]
        return {"success": True}


if __name__ == "__main__":
    fake = Vast(sys.argv[1] if len(sys.argv) > 1 else "fake-vast")
    print(fake.url, flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        fake.close()
