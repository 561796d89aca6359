"""The adverts, the rules of receiving and the states of Google's seesaw_ha, done
again from a description of it: a peer for compat = "seesaw".

ha.py LOCAL REMOTE VRID PRIORITY INTERVAL_MS [preempt]

Says each state it enters. SIGTERM is its graceful end.
"""

import select
import signal
import socket
import struct
import sys
import time

local, remote, vrid, priority, interval = sys.argv[1:6]
vrid, priority, interval = int(vrid), int(priority), int(interval) / 1000
preempt = "preempt" in sys.argv[6:]


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo(source, destination, length):
    return socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack("!BBH", 0, 112, length)


def advert(priority):
    head = struct.pack("!BBBBH", 0x31, vrid, priority, 0, round(interval * 100))
    total = checksum(pseudo(local, remote, 8) + head + b"\0\0")
    return head + struct.pack("!H", total)


sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
sender.bind((local, 0))
sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
listener = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
if remote.startswith("224."):
    listener.bind((remote, 0))
    group = socket.inet_aton(remote) + socket.inet_aton(local)
    listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
else:
    listener.bind((local, 0))


def received():
    """Priority and interval of an advert, or nothing for what is dropped."""
    packet = listener.recv(96)
    header = (packet[0] & 0xF) * 4
    payload, source = packet[header:], socket.inet_ntoa(packet[12:16])
    destination = socket.inet_ntoa(packet[16:20])
    if len(payload) != 8 or source == local or packet[8] != 255:
        return None
    if checksum(pseudo(source, destination, 8) + payload) != 0:
        return None
    kind, theirs, priority, _count, hundredths = struct.unpack("!BBBBH", payload[:6])
    if kind != 0x31 or theirs != vrid:
        return None
    return priority, hundredths / 100


def master_down(interval):
    return 3 * interval + (256 - priority) * interval / 256


over = []
signal.signal(signal.SIGTERM, lambda *_: over.append(True))
state, wait, until = None, master_down(interval), 0


def enter(to):
    global state, until
    state = to
    # The first advert of a leader comes after one interval.
    until = time.monotonic() + (interval if to == "LEADER" else wait)
    print(to, flush=True)


enter("BACKUP")
while not over:
    left = min(max(0, until - time.monotonic()), 0.05)
    heard = None
    if select.select([listener], [], [], left)[0]:
        heard = received()
    if state == "BACKUP":
        if heard and heard[0] == 0:
            enter("LEADER")
        elif heard and preempt and heard[0] < priority:
            enter("LEADER")
        elif heard:
            wait = master_down(heard[1])
            until = time.monotonic() + wait
        elif until <= time.monotonic():
            enter("LEADER")
    else:
        # Equal and lower ones are ignored, and so is a goodbye.
        if heard and heard[0] > priority:
            wait = master_down(heard[1])
            enter("BACKUP")
        elif until <= time.monotonic():
            sender.sendto(advert(priority), (remote, 0))
            until += interval
if state == "LEADER":
    sender.sendto(advert(0), (remote, 0))
print("SHUTDOWN", flush=True)
