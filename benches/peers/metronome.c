/*
 * The control of `cargo xtask bench vrrp`: as little as can send a VRRPv3
 * advert every so often. One absolute timer, one sendto, real-time priority,
 * locked memory. What it is late, the machine is late.
 *
 * usage: metronome VRID INTERVAL_US SOURCE
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define PRIORITY 50
#define NANOS 1000000000L

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static uint16_t checksum(const uint8_t *bytes, size_t len)
{
	uint32_t sum = 0;
	for (size_t at = 0; at + 1 < len; at += 2)
		sum += (uint32_t)bytes[at] << 8 | bytes[at + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: metronome VRID INTERVAL_US SOURCE\n");
		return 2;
	}
	uint8_t vrid = (uint8_t)atoi(argv[1]);
	long interval_ns = atol(argv[2]) * 1000;
	uint16_t centis = (uint16_t)(interval_ns / 10000000);
	struct in_addr source;
	if (!inet_aton(argv[3], &source))
		fail(argv[3]);

	uint8_t advert[12] = { 0x31, vrid, 150, 1, centis >> 8, centis & 0xff,
			       0, 0, 192, 0, 2, vrid };
	uint16_t sum = checksum(advert, sizeof advert);
	advert[6] = sum >> 8;
	advert[7] = sum & 0xff;

	int sock = socket(AF_INET, SOCK_RAW, 112);
	if (sock < 0)
		fail("socket");
	int ttl = 255;
	struct ip_mreqn from = { .imr_address = source };
	if (setsockopt(sock, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, sizeof ttl) ||
	    setsockopt(sock, IPPROTO_IP, IP_MULTICAST_IF, &from, sizeof from))
		fail("setsockopt");
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(0xe0000012) };

	struct sched_param param = { .sched_priority = PRIORITY };
	if (sched_setscheduler(0, SCHED_FIFO, &param))
		fail("sched_setscheduler");
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		fail("mlockall");
	prctl(PR_SET_TIMERSLACK, 1);

	int timer = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec at = { 0 };
	if (timer < 0 || clock_gettime(CLOCK_MONOTONIC, &at.it_value))
		fail("timerfd");
	for (;;) {
		at.it_value.tv_nsec += interval_ns;
		while (at.it_value.tv_nsec >= NANOS) {
			at.it_value.tv_nsec -= NANOS;
			at.it_value.tv_sec++;
		}
		uint64_t fired;
		if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL) ||
		    read(timer, &fired, sizeof fired) != sizeof fired)
			fail("timerfd");
		if (sendto(sock, advert, sizeof advert, 0,
			   (struct sockaddr *)&to, sizeof to) < 0 && errno != ENOBUFS)
			fail("sendto");
	}
}
