/* A stand-in for libnvidia-ml.so.1: cards whose behaviour the environment chooses (NVML_STUB). Codes and structures as in nvml.h.
 *
 * fine      two cards                        mismatch  starting says 18: driver and library differ
 * none      no card                          unloaded  starting says 9: driver not loaded
 * denied    starting says 4: no permission   lost      card 0 is lost, in every query
 * handle    card 0 is lost, asked for itself hang      the use of card 0 is never answered
 * crash     the use of card 0 crashes        odd       values and names that cannot be
 * many      16 cards                         busy      8 cards with 100 processes each
 * old       only the calls of an old driver  mig       card 0 has two instances
 * poor      nothing but names is supported
 */
#ifndef BUSY
#define BUSY 100 /* processes on each card of "busy" */
#endif
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FINE = 0, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, TOO_SMALL = 7, NOT_LOADED = 9, NO_FUNCTION = 13, LOST = 15, MISMATCH = 18 };

typedef struct { unsigned index, part; } card_t; /* part: 0 the card itself, else a MIG instance */
typedef struct { uint64_t total, free, used; } memory_t;
typedef struct { unsigned gpu, memory; } use_t;
typedef struct { unsigned pid; uint64_t memory; unsigned gpu_part, compute_part; } process_t;
typedef struct { unsigned pid; uint64_t at; unsigned sm, memory, encoder, decoder; } share_t;

static card_t cards[256][3];

static int is(const char *word)
{
    const char *told = getenv("NVML_STUB");
    return told && strcmp(told, word) == 0;
}

/* What every question about a card says first. */
static int state(card_t *card)
{
    if (is("lost") && card->index == 0)
        return LOST;
    return is("poor") ? NOT_SUPPORTED : FINE;
}

static int tell(card_t *card, unsigned *answer, unsigned value)
{
    int said = state(card);
    if (!said)
        *answer = is("odd") ? 0xFFFFFFFFu : value;
    return said;
}

int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    for (unsigned index = 0; index < 256; index++)
        for (unsigned part = 0; part < 3; part++)
            cards[index][part] = (card_t){index, part};
    return is("mismatch") ? MISMATCH : is("unloaded") ? NOT_LOADED : is("denied") ? NO_PERMISSION : FINE;
}

int nvmlShutdown(void) { return FINE; }

int nvmlDeviceGetCount_v2(unsigned *count)
{
    *count = is("none") ? 0 : is("many") ? 16 : is("busy") ? 8 : 2;
    return FINE;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, card_t **card)
{
    *card = &cards[index & 255][0];
    return is("handle") && index == 0 ? LOST : FINE;
}

int nvmlDeviceGetUUID(card_t *card, char *text, unsigned size)
{
    /* the order of identifiers is not the order of cards */
    snprintf(text, size, card->part ? "MIG-%04x-%u" : "GPU-%04x", 0xffff - card->index, card->part);
    return FINE;
}

int nvmlDeviceGetName(card_t *card, char *text, unsigned size)
{
    if (is("lost") && card->index == 0)
        return LOST;
    snprintf(text, size, is("odd") ? "RTX \xff\xfe \x1b[31m[b]red[/b]\x07" : card->part ? "NVIDIA A100 MIG 3g.20gb" : "NVIDIA Stub 3090");
    return FINE;
}

int nvmlDeviceGetMemoryInfo(card_t *card, memory_t *memory)
{
    int said = state(card);
    *memory = (memory_t){24ull << 30, 16ull << 30, 8ull << 30};
    if (is("odd"))
        *memory = card->index ? (memory_t){0, 0, 5} : (memory_t){1ull << 30, 0, UINT64_MAX};
    return said;
}

int nvmlDeviceGetUtilizationRates(card_t *card, use_t *use)
{
    if (card->index == 0 && is("hang"))
        for (;;)
            pause();
    if (card->index == 0 && is("crash"))
        *(volatile int *)8 = 1;
    int said = tell(card, &use->gpu, 97);
    return said ? said : tell(card, &use->memory, 40);
}

int nvmlDeviceGetPowerUsage(card_t *card, unsigned *answer) { return tell(card, answer, 312400); }
int nvmlDeviceGetEnforcedPowerLimit(card_t *card, unsigned *answer) { return tell(card, answer, 350000); }
int nvmlDeviceGetFanSpeed(card_t *card, unsigned *answer) { return tell(card, answer, 62); }
int nvmlDeviceGetCurrPcieLinkGeneration(card_t *card, unsigned *answer) { return tell(card, answer, 3); }
int nvmlDeviceGetMaxPcieLinkGeneration(card_t *card, unsigned *answer) { return tell(card, answer, 4); }
int nvmlDeviceGetCurrPcieLinkWidth(card_t *card, unsigned *answer) { return tell(card, answer, 8); }
int nvmlDeviceGetMaxPcieLinkWidth(card_t *card, unsigned *answer) { return tell(card, answer, 16); }
int nvmlDeviceGetClockInfo(card_t *card, int type, unsigned *answer) { return tell(card, answer, type == 2 ? 9501 : 1695); }
int nvmlDeviceGetMaxClockInfo(card_t *card, int type, unsigned *answer) { return tell(card, answer, type == 2 ? 9751 : 2100); }
int nvmlDeviceGetPcieThroughput(card_t *card, int way, unsigned *answer) { return tell(card, answer, way ? 2000 : 1000); }

int nvmlDeviceGetTemperature(card_t *card, int sensor, unsigned *answer)
{
    (void)sensor;
    return is("odd") ? (*answer = (unsigned)-40, FINE) : tell(card, answer, 71);
}

int nvmlDeviceGetTotalEccErrors(card_t *card, int kind, int counter, uint64_t *answer)
{
    (void)counter;
    *answer = is("odd") ? UINT64_MAX : kind ? 1 : 12;
    return card->index ? NOT_SUPPORTED : state(card);
}

int nvmlDeviceGetCurrentClocksEventReasons(card_t *card, uint64_t *answer)
{
    *answer = is("odd") ? UINT64_MAX : 0x24; /* power cap, thermal slowdown */
    return is("old") ? NO_FUNCTION : state(card);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(card_t *card, uint64_t *answer)
{
    *answer = 0x08;
    return state(card);
}

static int processes(card_t *card, unsigned *count, process_t *list)
{
    unsigned there = is("busy") ? BUSY : is("mig") && !card->part ? 0 : 1, room = *count;
    int said = state(card);
    *count = there;
    if (said || (there && room < there))
        return said ? said : TOO_SMALL;
    for (unsigned each = 0; each < there; each++)
        list[each] = (process_t){is("busy") ? 1 + BUSY * card->index + each : 812 + card->part, is("odd") ? UINT64_MAX : 6ull << 28, 0, 0};
    return FINE;
}

int nvmlDeviceGetComputeRunningProcesses_v3(card_t *card, unsigned *count, process_t *list)
{
    return is("old") ? NO_FUNCTION : processes(card, count, list);
}

int nvmlDeviceGetComputeRunningProcesses_v2(card_t *card, unsigned *count, process_t *list) { return processes(card, count, list); }

int nvmlDeviceGetGraphicsRunningProcesses_v3(card_t *card, unsigned *count, process_t *list)
{
    (void)list;
    *count = 0;
    return is("old") ? NO_FUNCTION : state(card);
}

int nvmlDeviceGetProcessUtilization(card_t *card, share_t *list, unsigned *count, uint64_t since)
{
    unsigned there = is("busy") ? BUSY : 1, room = *count;
    int said = state(card);
    *count = there;
    if (said || !list || room < there)
        return said ? said : TOO_SMALL;
    for (unsigned each = 0; each < there; each++)
        list[each] = (share_t){is("busy") ? 1 + BUSY * card->index + each : 812, since + 1, is("odd") ? 0xFFFFFFFFu : 55, 0, 0, 0};
    return FINE;
}

int nvmlDeviceGetMigMode(card_t *card, unsigned *now, unsigned *then)
{
    *now = *then = is("mig") && card->index == 0;
    return is("mig") ? FINE : NOT_SUPPORTED;
}

int nvmlDeviceGetMaxMigDeviceCount(card_t *card, unsigned *count) { return *count = 7, (void)card, FINE; }

int nvmlDeviceGetMigDeviceHandleByIndex(card_t *card, unsigned index, card_t **part)
{
    *part = &cards[card->index][1 + index % 2];
    return index < 2 ? FINE : NOT_FOUND;
}
