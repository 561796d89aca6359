// The peer of `cargo xtask bench ipvs` in Go with cgo: each request through a
// libnl socket of its own, built by a call into C for each attribute, as
// Google's Seesaw does. It leaves out what Seesaw does beside that (reflection,
// a table of callbacks behind a lock), and so takes less.
//
// Usage: ipvs SERVICES EACH. Prints what ipvs.c prints, for the same table.
package main

/*
#cgo pkg-config: libnl-genl-3.0
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/ip_vs.h>
#include <net/if.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

// With no address at all the kernel takes every address for a broadcast.
static int own_namespace(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	if (unshare(CLONE_NEWNET))
		return -1;
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	int err = s < 0 ? -1 : ioctl(s, SIOCSIFFLAGS, &lo);
	close(s);
	return err;
}
*/
import "C"

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

type operation struct {
	command     C.uint8_t
	service     uint32
	destination uint32
	weight      uint32
}

var family C.int

func check(err C.int, what string) {
	if err < 0 {
		fmt.Fprintf(os.Stderr, "ipvs peer in go: %s: %s\n", what, C.GoString(C.nl_geterror(err)))
		os.Exit(1)
	}
}

func open() *C.struct_nl_sock {
	socket := C.nl_socket_alloc()
	check(C.genl_connect(socket), "connect")
	return socket
}

func address(message *C.struct_nl_msg, kind C.int, value uint32) {
	var bytes [4]byte
	binary.BigEndian.PutUint32(bytes[:], value)
	C.nla_put(message, kind, 4, unsafe.Pointer(&bytes[0]))
}

func do(op operation) {
	socket := open()
	message := C.nlmsg_alloc()
	C.genlmsg_put(message, C.NL_AUTO_PORT, C.NL_AUTO_SEQ, family, 0, 0, op.command, C.IPVS_GENL_VERSION)
	nest := C.nla_nest_start(message, C.IPVS_CMD_ATTR_SERVICE)
	C.nla_put_u16(message, C.IPVS_SVC_ATTR_AF, C.AF_INET)
	C.nla_put_u16(message, C.IPVS_SVC_ATTR_PROTOCOL, C.IPPROTO_TCP)
	address(message, C.IPVS_SVC_ATTR_ADDR, 0x0a010000+op.service)
	C.nla_put_u16(message, C.IPVS_SVC_ATTR_PORT, C.htons(80))
	if op.command == C.IPVS_CMD_NEW_SERVICE {
		flags := [8]byte{4: 0xff, 5: 0xff, 6: 0xff, 7: 0xff}
		scheduler := C.CString("wrr")
		C.nla_put_string(message, C.IPVS_SVC_ATTR_SCHED_NAME, scheduler)
		C.free(unsafe.Pointer(scheduler))
		C.nla_put(message, C.IPVS_SVC_ATTR_FLAGS, 8, unsafe.Pointer(&flags[0]))
		C.nla_put_u32(message, C.IPVS_SVC_ATTR_TIMEOUT, 0)
		C.nla_put_u32(message, C.IPVS_SVC_ATTR_NETMASK, 0xffffffff)
	}
	C.nla_nest_end(message, nest)
	if op.command != C.IPVS_CMD_NEW_SERVICE {
		nest = C.nla_nest_start(message, C.IPVS_CMD_ATTR_DEST)
		address(message, C.IPVS_DEST_ATTR_ADDR, 0x0a800000+op.destination)
		C.nla_put_u16(message, C.IPVS_DEST_ATTR_PORT, C.htons(80))
		if op.command != C.IPVS_CMD_DEL_DEST {
			C.nla_put_u32(message, C.IPVS_DEST_ATTR_FWD_METHOD, 3)
			C.nla_put_u32(message, C.IPVS_DEST_ATTR_WEIGHT, C.uint32_t(op.weight))
			C.nla_put_u32(message, C.IPVS_DEST_ATTR_U_THRESH, 0)
			C.nla_put_u32(message, C.IPVS_DEST_ATTR_L_THRESH, 0)
		}
		C.nla_nest_end(message, nest)
	}
	check(C.nl_send_auto(socket, message), "send")
	C.nlmsg_free(message)
	check(C.nl_wait_for_ack(socket), "kernel")
	C.nl_socket_free(socket)
}

func peak() string {
	status, err := os.Open("/proc/self/status")
	if err != nil {
		return "0"
	}
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		if words := strings.Fields(lines.Text()); words[0] == "VmHWM:" {
			return words[1]
		}
	}
	return "0"
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: ipvs SERVICES EACH")
		os.Exit(2)
	}
	services, _ := strconv.Atoi(os.Args[1])
	each, _ := strconv.Atoi(os.Args[2])
	count := services * each
	// A namespace is its thread's.
	runtime.LockOSThread()
	check(C.own_namespace(), "namespace")
	socket := open()
	name := C.CString("IPVS")
	family = C.genl_ctrl_resolve(socket, name)
	check(family, "no ip_vs")
	C.nl_socket_free(socket)

	for i := 0; i < services; i++ {
		do(operation{command: C.IPVS_CMD_NEW_SERVICE, service: uint32(i)})
	}
	for _, phase := range []struct {
		name    string
		command C.uint8_t
		first   int
		weight  uint32
	}{
		{"new", C.IPVS_CMD_NEW_DEST, 0, 1},
		{"set", C.IPVS_CMD_SET_DEST, 0, 2},
		{"del", C.IPVS_CMD_DEL_DEST, 0, 0},
		{"new-trash", C.IPVS_CMD_NEW_DEST, count, 1},
	} {
		begin := time.Now()
		for i := 0; i < count; i++ {
			do(operation{
				phase.command, uint32(i / each), uint32(phase.first + i), phase.weight,
			})
		}
		took := time.Since(begin)
		fmt.Printf("%s %d %.1f\n", phase.name, count, float64(took.Nanoseconds())/1e3)
	}
	fmt.Printf("rss 1 %s\n", peak())
}
