"""Push what a pool had in the last minute to a mining map: run it once a minute."""

import datetime as dt
import json
import os
import sys
import time
import urllib.error
import urllib.request

URL = os.environ["MINING_MAP"] + "/api/v1/reports"
TOKEN = os.environ["MININGMAP_PARTNER_TOKEN"]

end = dt.datetime.now(dt.timezone.utc).replace(second=0, microsecond=0)
places = {"US-TX": 1.1e20, "CN-NM": 3.1e19, "NO": 1.25e18}  # H/s
row = {
    "start": (end - dt.timedelta(minutes=1)).isoformat(),
    "end": end.isoformat(),
    "hashrate": 1.5e20,  # of the whole pool; what no place has is not located
    "places": [{"code": code, "hashrate": hashrate} for code, hashrate in places.items()],
}
headers = {"Authorization": "Bearer " + TOKEN, "Content-Type": "application/json"}
request = urllib.request.Request(URL, json.dumps([row]).encode(), headers)
while True:
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            print(json.load(response)["accepted"], "row accepted")
            break
    except urllib.error.HTTPError as error:
        print(error.code, error.read().decode(), file=sys.stderr)
        if error.code not in (429, 503):  # only these are temporary
            sys.exit(1)
        time.sleep(int(error.headers["Retry-After"]))
