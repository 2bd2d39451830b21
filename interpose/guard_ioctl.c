/*
 * guard_ioctl.c - what the structures of ioctl(2) and bpf(2) lead to. See guard.h.
 *
 * A request says its structure's length itself, or is one of old that does not. What the structure leads to stands in the table, for
 * those families whose buffers may be long. Of all other requests each word that leads to managed memory counts as a pointer, and what
 * it leads to is held up to where its block ends, or the first MiB of that.
 */
#include "interpose/guard.h"

#include "platform/abi.h"
#include "platform/sys.h"

#include <linux/blkpg.h>
#include <linux/bpf.h>
#include <linux/bsg.h>
#include <linux/btrfs.h>
#include <linux/dm-ioctl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/fsmap.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <linux/input.h>
#include <linux/nvme_ioctl.h>
#include <linux/spi/spidev.h>
#include <linux/usbdevice_fs.h>
#include <linux/vfio.h>
#include <linux/videodev2.h>
#include <scsi/sg.h>
#include <stddef.h>
#include <string.h>

/* The longest structure that is read here: those that are longer have no pointers behind it. */
#define STRUCTURE_BYTES 512u
/* Of a request of old that does not say its length. */
#define UNSAID_BYTES ((size_t)64 << 10)
/* Items of a list that are looked into. */
#define ITEMS_MAX 4096u

enum part_kind {
    PART_NONE,
    PART_BYTES,  /* the word at `at` leads to as many items of `unit` bytes as the field at `by` says */
    PART_BEHIND, /* so many items stand at `at` in the structure itself */
    PART_WHOLE,  /* the field says how long the structure is */
    PART_VECTOR, /* the word leads to so many struct iovec */
    PART_STRING,
};

struct part {
    uint8_t kind;
    uint8_t width; /* of the field, in bytes; 0: one item */
    uint16_t at;
    uint16_t by;
    uint16_t unit;
    /* What each item leads to: as PART_BYTES, with the item's own offsets. */
    struct {
        uint8_t width;
        uint8_t at;
        uint8_t by;
    } inner[2];
};

#define WIDTH(type, field) sizeof(((type *)0)->field)
#define LEADS(type, pointer, count, bytes) \
    {.kind = PART_BYTES, .width = WIDTH(type, count), .at = offsetof(type, pointer), .by = offsetof(type, count), .unit = (bytes)}
#define LEADS_ONE(type, pointer, bytes) {.kind = PART_BYTES, .at = offsetof(type, pointer), .unit = (bytes)}
#define VECTOR(type, pointer, count) \
    {.kind = PART_VECTOR, .width = WIDTH(type, count), .at = offsetof(type, pointer), .by = offsetof(type, count)}
#define BEHIND(type, items, count, bytes) \
    {.kind = PART_BEHIND, .width = WIDTH(type, count), .at = offsetof(type, items), .by = offsetof(type, count), .unit = (bytes)}
#define WHOLE(type, length) {.kind = PART_WHOLE, .width = WIDTH(type, length), .by = offsetof(type, length), .unit = 1}
#define STRING(type, pointer) {.kind = PART_STRING, .at = offsetof(type, pointer)}
#define INNER(type, pointer, count) {WIDTH(type, count), offsetof(type, pointer), offsetof(type, count)}
#define LIST(type, pointer, count, item, ...) \
    {.kind = PART_BYTES, .width = WIDTH(type, count), .at = offsetof(type, pointer), .by = offsetof(type, count), \
     .unit = sizeof(item), .inner = {__VA_ARGS__}}

#define MAX_PARTS 7

struct form {
    uint32_t request; /* or a command of bpf(2) */
    uint32_t heeded;  /* bits of the request that count; 0: all */
    uint16_t bytes;   /* of the structure; 0: as the request says */
    uint8_t when_at;  /* only if the 32-bit word at this offset is in [when, when_end); */
    uint8_t when;
    uint8_t when_end; /* 0: always */
    struct part parts[MAX_PARTS];
};

#define ANY_SIZE ~(uint32_t)(_IOC_SIZEMASK << _IOC_SIZESHIFT)
#ifndef NVME_IOCTL_IO64_CMD_VEC
#define NVME_IOCTL_IO64_CMD_VEC _IOWR('N', 0x49, struct nvme_passthru_cmd64)
#endif
#define BUFFER_OF(request_, first_, end_, ...) \
    {.request = (uint32_t)(request_), .when_at = offsetof(struct v4l2_buffer, type), .when = (first_), .when_end = (end_), .parts = {__VA_ARGS__}}
#define PLANES LIST(struct v4l2_buffer, m, length, struct v4l2_plane, INNER(struct v4l2_plane, m, length))
#define PLAIN_BUFFER LEADS(struct v4l2_buffer, m, length, 1)
#define BUFFERS(request) \
    BUFFER_OF(request, V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE, V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE + 1, PLANES), \
        BUFFER_OF(request, V4L2_BUF_TYPE_VIDEO_CAPTURE, V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE, PLAIN_BUFFER), \
        BUFFER_OF(request, V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE + 1, 255, PLAIN_BUFFER)
#define CONTROLS(request_) \
    {.request = (uint32_t)(request_), .parts = {LIST(struct v4l2_ext_controls, controls, count, struct v4l2_ext_control, \
                                           INNER(struct v4l2_ext_control, ptr, size))}}
#define PASSTHRU(request_, type) \
    {.request = (uint32_t)(request_), .parts = {LEADS(struct type, addr, data_len, 1), LEADS(struct type, metadata, metadata_len, 1)}}

/* Sources: the header of each family, include/uapi/linux and scsi. */
static const struct form forms[] = {
    {.request = (uint32_t)PAGEMAP_SCAN, .parts = {LEADS(struct pm_scan_arg, vec, vec_len, sizeof(struct page_region))}},
    {.request = (uint32_t)UFFDIO_COPY, .parts = {LEADS(struct uffdio_copy, src, len, 1)}},
    {.request = (uint32_t)FS_IOC_FIEMAP, .parts = {BEHIND(struct fiemap, fm_extents, fm_extent_count, sizeof(struct fiemap_extent))}},
    {.request = (uint32_t)FS_IOC_GETFSMAP, .parts = {BEHIND(struct fsmap_head, fmh_recs, fmh_count, sizeof(struct fsmap))}},
    {.request = (uint32_t)FIDEDUPERANGE,
     .parts = {BEHIND(struct file_dedupe_range, info, dest_count, sizeof(struct file_dedupe_range_info))}},
    {.request = BLKPG, .bytes = sizeof(struct blkpg_ioctl_arg), .parts = {LEADS(struct blkpg_ioctl_arg, data, datalen, 1)}},
    {.request = SG_IO, .bytes = sizeof(struct sg_io_hdr), .when = 'S', .when_end = 'S' + 1,
     .parts = {LEADS(struct sg_io_hdr, dxferp, dxfer_len, 1), VECTOR(struct sg_io_hdr, dxferp, iovec_count),
               LEADS(struct sg_io_hdr, cmdp, cmd_len, 1), LEADS(struct sg_io_hdr, sbp, mx_sb_len, 1)}},
    {.request = SG_IO, .bytes = sizeof(struct sg_io_v4), .when = 'Q', .when_end = 'Q' + 1,
     .parts = {LEADS(struct sg_io_v4, request, request_len, 1), LEADS(struct sg_io_v4, response, max_response_len, 1),
               LEADS(struct sg_io_v4, dout_xferp, dout_xfer_len, 1), LEADS(struct sg_io_v4, din_xferp, din_xfer_len, 1),
               VECTOR(struct sg_io_v4, dout_xferp, dout_iovec_count), VECTOR(struct sg_io_v4, din_xferp, din_iovec_count)}},
    PASSTHRU(NVME_IOCTL_ADMIN_CMD, nvme_passthru_cmd),
    PASSTHRU(NVME_IOCTL_IO_CMD, nvme_passthru_cmd),
    PASSTHRU(NVME_IOCTL_ADMIN64_CMD, nvme_passthru_cmd64),
    PASSTHRU(NVME_IOCTL_IO64_CMD, nvme_passthru_cmd64),
    {.request = (uint32_t)NVME_IOCTL_IO64_CMD_VEC, .parts = {VECTOR(struct nvme_passthru_cmd64, addr, data_len)}},
    {.request = I2C_RDWR, .bytes = sizeof(struct i2c_rdwr_ioctl_data),
     .parts = {LIST(struct i2c_rdwr_ioctl_data, msgs, nmsgs, struct i2c_msg, INNER(struct i2c_msg, buf, len))}},
    {.request = I2C_SMBUS, .bytes = sizeof(struct i2c_smbus_ioctl_data),
     .parts = {LEADS_ONE(struct i2c_smbus_ioctl_data, data, sizeof(union i2c_smbus_data))}},
    CONTROLS(VIDIOC_G_EXT_CTRLS),
    CONTROLS(VIDIOC_S_EXT_CTRLS),
    CONTROLS(VIDIOC_TRY_EXT_CTRLS),
    BUFFERS(VIDIOC_QUERYBUF),
    BUFFERS(VIDIOC_QBUF),
    BUFFERS(VIDIOC_DQBUF),
    BUFFERS(VIDIOC_PREPARE_BUF),
    {.request = (uint32_t)VIDIOC_G_EDID, .parts = {LEADS(struct v4l2_edid, edid, blocks, 128)}},
    {.request = (uint32_t)VIDIOC_S_EDID, .parts = {LEADS(struct v4l2_edid, edid, blocks, 128)}},
    {.request = (uint32_t)BTRFS_IOC_SEND, .parts = {LEADS(struct btrfs_ioctl_send_args, clone_sources, clone_sources_count, 8)}},
    {.request = (uint32_t)BTRFS_IOC_INO_PATHS, .parts = {LEADS(struct btrfs_ioctl_ino_path_args, fspath, size, 1)}},
    {.request = (uint32_t)BTRFS_IOC_LOGICAL_INO, .parts = {LEADS(struct btrfs_ioctl_logical_ino_args, inodes, size, 1)}},
    {.request = (uint32_t)BTRFS_IOC_LOGICAL_INO_V2, .parts = {LEADS(struct btrfs_ioctl_logical_ino_args, inodes, size, 1)}},
    {.request = (uint32_t)BTRFS_IOC_TREE_SEARCH_V2, .parts = {BEHIND(struct btrfs_ioctl_search_args_v2, buf, buf_size, 1)}},
    {.request = (uint32_t)BTRFS_IOC_SPACE_INFO,
     .parts = {BEHIND(struct btrfs_ioctl_space_args, spaces, space_slots, sizeof(struct btrfs_ioctl_space_info))}},
    {.request = (uint32_t)BTRFS_IOC_SUBVOL_CREATE_V2, .parts = {LEADS(struct btrfs_ioctl_vol_args_v2, qgroup_inherit, size, 1)}},
    {.request = (uint32_t)BTRFS_IOC_SNAP_CREATE_V2, .parts = {LEADS(struct btrfs_ioctl_vol_args_v2, qgroup_inherit, size, 1)}},
    /* All of the device mapper's have one structure in front of their data. */
    {.request = (uint32_t)DM_VERSION, .heeded = (uint32_t)_IOC_TYPEMASK << _IOC_TYPESHIFT, .parts = {WHOLE(struct dm_ioctl, data_size)}},
    {.request = (uint32_t)USBDEVFS_CONTROL, .parts = {LEADS(struct usbdevfs_ctrltransfer, data, wLength, 1)}},
    {.request = (uint32_t)USBDEVFS_BULK, .parts = {LEADS(struct usbdevfs_bulktransfer, data, len, 1)}},
    {.request = (uint32_t)VFIO_IOMMU_MAP_DMA, .bytes = sizeof(struct vfio_iommu_type1_dma_map),
     .parts = {LEADS(struct vfio_iommu_type1_dma_map, vaddr, size, 1), WHOLE(struct vfio_iommu_type1_dma_map, argsz)}},
    /* All others of VFIO's begin with their length. */
    {.request = (uint32_t)VFIO_DEVICE_GET_INFO, .heeded = (uint32_t)_IOC_TYPEMASK << _IOC_TYPESHIFT, .bytes = 8,
     .parts = {WHOLE(struct vfio_device_info, argsz)}},
    {.request = (uint32_t)EVIOCGMASK, .parts = {LEADS(struct input_mask, codes_ptr, codes_size, 1)}},
    {.request = (uint32_t)EVIOCSMASK, .parts = {LEADS(struct input_mask, codes_ptr, codes_size, 1)}},
};

/* Source: bpf(2); include/uapi/linux/bpf.h, union bpf_attr. Records of 32 bytes are longer than any there are. */
static const struct form commands[] = {
    {.request = BPF_PROG_LOAD,
     .parts = {LEADS(union bpf_attr, insns, insn_cnt, 8), STRING(union bpf_attr, license), LEADS(union bpf_attr, log_buf, log_size, 1),
               LEADS(union bpf_attr, func_info, func_info_cnt, 32), LEADS(union bpf_attr, line_info, line_info_cnt, 32),
               LEADS(union bpf_attr, core_relos, core_relo_cnt, 32), LEADS_ONE(union bpf_attr, fd_array, 4096)}},
    {.request = BPF_OBJ_PIN, .parts = {STRING(union bpf_attr, pathname)}},
    {.request = BPF_OBJ_GET, .parts = {STRING(union bpf_attr, pathname)}},
    {.request = BPF_PROG_TEST_RUN,
     .parts = {LEADS(union bpf_attr, test.data_in, test.data_size_in, 1), LEADS(union bpf_attr, test.data_out, test.data_size_out, 1),
               LEADS(union bpf_attr, test.ctx_in, test.ctx_size_in, 1), LEADS(union bpf_attr, test.ctx_out, test.ctx_size_out, 1)}},
    {.request = BPF_OBJ_GET_INFO_BY_FD, .parts = {LEADS(union bpf_attr, info.info, info.info_len, 1)}},
    {.request = BPF_PROG_QUERY, .parts = {LEADS(union bpf_attr, query.prog_ids, query.prog_cnt, 4)}},
    {.request = BPF_RAW_TRACEPOINT_OPEN, .parts = {STRING(union bpf_attr, raw_tracepoint.name)}},
    {.request = BPF_BTF_LOAD,
     .parts = {LEADS(union bpf_attr, btf, btf_size, 1), LEADS(union bpf_attr, btf_log_buf, btf_log_size, 1)}},
    {.request = BPF_TASK_FD_QUERY, .parts = {LEADS(union bpf_attr, task_fd_query.buf, task_fd_query.buf_len, 1)}},
};

/* A structure of the program's, as much of it as can be read and has a place here; zeros behind. */
struct structure {
    uintptr_t at;
    _Alignas(8) unsigned char bytes[STRUCTURE_BYTES];
};

static void read_structure(struct structure *structure, uintptr_t at, size_t bytes)
{
    memset(structure, 0, sizeof *structure);
    structure->at = at;
    if (at != 0 && guard_copy(structure->bytes, (const void *)at, min_size(bytes, STRUCTURE_BYTES)) != 0)
        memset(structure->bytes, 0, sizeof structure->bytes);
}

static uint64_t field(const unsigned char *bytes, size_t at, size_t width)
{
    uint64_t value = 0; /* the processor's order: the low bytes come first */

    memcpy(&value, bytes + at, width);
    return value;
}

static size_t times(uint64_t n, size_t unit)
{
    size_t bytes;

    return __builtin_mul_overflow(n, unit, &bytes) ? 0 : bytes;
}

static void hold_items(struct hold *hold, const struct part *part, uintptr_t at, uint64_t n)
{
    unsigned char item[128];

    guard_hold_room(hold, at, times(n, part->unit));
    if (part->inner[0].width == 0 || part->unit > sizeof item)
        return;
    for (uint64_t i = 0; i < n && i < ITEMS_MAX && guard_copy(item, (const void *)(at + i * part->unit), part->unit) == 0; i++)
        for (size_t k = 0; k < 2 && part->inner[k].width != 0; k++)
            guard_hold_room(hold, field(item, part->inner[k].at, 8), field(item, part->inner[k].by, part->inner[k].width));
}

static void hold_part(struct hold *hold, const struct structure *structure, const struct part *part)
{
    uint64_t n = part->width != 0 ? field(structure->bytes, part->by, part->width) : 1;
    uintptr_t pointer = field(structure->bytes, part->at, 8);

    switch (part->kind) {
    case PART_BYTES:
        if (pointer != 0)
            hold_items(hold, part, pointer, n);
        break;
    case PART_BEHIND:
        guard_hold_room(hold, structure->at + part->at, times(n, part->unit));
        break;
    case PART_WHOLE:
        guard_hold_room(hold, structure->at, n);
        break;
    case PART_VECTOR:
        guard_hold_vector(hold, pointer, n);
        break;
    case PART_STRING:
        guard_hold_string(hold, pointer, PAGE_BYTES);
        break;
    default:
        break;
    }
}

static bool has_form(const struct form *form, uint32_t request, const struct structure *structure)
{
    uint32_t heeded = form->heeded != 0 ? form->heeded : ~(uint32_t)0;
    uint64_t word;

    if ((request & heeded) != (form->request & heeded))
        return false;
    word = field(structure->bytes, form->when_at, 4);
    return form->when_end == 0 || (word >= form->when && word < form->when_end);
}

/* False: none is known. */
static bool hold_forms(struct hold *hold, const struct form *all, size_t n, uint32_t request, const struct structure *structure)
{
    for (size_t i = 0; i < n; i++) {
        if (!has_form(&all[i], request, structure))
            continue;
        guard_hold_range(hold, structure->at, all[i].bytes);
        for (size_t k = 0; k < MAX_PARTS; k++)
            hold_part(hold, structure, &all[i].parts[k]);
        return true;
    }
    return false;
}

static void hold_words(struct hold *hold, const struct structure *structure, size_t bytes)
{
    for (size_t at = 0; at + 8 <= min_size(bytes, STRUCTURE_BYTES); at += 8) {
        uintptr_t word = field(structure->bytes, at, 8);

        if (guard_is_managed(word))
            guard_hold_room(hold, word, GUARD_INNER_BYTES);
    }
}

void guard_hold_pointers(struct hold *hold, uintptr_t at, size_t bytes)
{
    struct structure structure;

    read_structure(&structure, at, bytes);
    hold_words(hold, &structure, bytes);
}

/* ---- ioctl ---- */

/* Messages one behind the other: as many as the request's length has room for. */
static void hold_transfers(struct hold *hold, uintptr_t at, size_t bytes)
{
    static const struct part list = {.unit = sizeof(struct spi_ioc_transfer),
                                     .inner = {INNER(struct spi_ioc_transfer, tx_buf, len), INNER(struct spi_ioc_transfer, rx_buf, len)}};

    hold_items(hold, &list, at, bytes / list.unit);
}

/* The device writes when it likes, and the kernel copies when some request or other is reaped. Source: drivers/usb/core/devio.c. */
static void hold_usb_request(uintptr_t at)
{
    struct usbdevfs_urb urb;

    if (guard_copy(&urb, (const void *)at, sizeof urb) != 0)
        return;
    guard_hold_for_good(at, sizeof urb + times((uint32_t)urb.number_of_packets, sizeof(struct usbdevfs_iso_packet_desc)));
    guard_hold_for_good((uintptr_t)urb.buffer, (size_t)max_size((size_t)(urb.buffer_length > 0 ? urb.buffer_length : 0), 1));
}

void guard_hold_request(struct hold *hold, unsigned request, uintptr_t at)
{
    bool says_length = _IOC_DIR(request) != _IOC_NONE && _IOC_SIZE(request) > 0;
    size_t bytes = says_length ? _IOC_SIZE(request) : 256;
    struct structure structure;

    if (at < PAGE_BYTES) /* a number, or nothing */
        return;
    if (says_length)
        guard_hold_range(hold, at, bytes);
    if ((request & ANY_SIZE) == ((uint32_t)SPI_IOC_MESSAGE(0) & ANY_SIZE)) {
        hold_transfers(hold, at, bytes);
        return;
    }
    if (request == (unsigned)USBDEVFS_SUBMITURB)
        hold_usb_request(at);
    read_structure(&structure, at, bytes);
    if (hold_forms(hold, forms, sizeof forms / sizeof forms[0], request, &structure))
        return;
    guard_hold_room(hold, at, UNSAID_BYTES); /* drivers let structures end in lists of which the request says nothing */
    hold_words(hold, &structure, max_size(bytes, 256));
}

/* ---- bpf ---- */

/* How long the keys and values of a map are. Where it cannot be told, they may go to the end of their blocks. */
static void map_sizes(int fd, size_t *key, size_t *value)
{
    struct bpf_map_info info;
    union bpf_attr attr;
    size_t per_cpu;

    memset(&attr, 0, sizeof attr);
    memset(&info, 0, sizeof info);
    attr.info.bpf_fd = (uint32_t)fd;
    attr.info.info_len = sizeof info;
    attr.info.info = (uintptr_t)&info;
    *key = *value = GUARD_INNER_BYTES;
    if (sys_failed(sys_call3(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof attr.info)))
        return;
    per_cpu = info.type == BPF_MAP_TYPE_PERCPU_HASH || info.type == BPF_MAP_TYPE_PERCPU_ARRAY ||
                      info.type == BPF_MAP_TYPE_LRU_PERCPU_HASH || info.type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE
                  ? 8192 /* CONFIG_NR_CPUS */
                  : 1;
    *key = max_size(info.key_size, 8);
    *value = times(round_up(max_size(info.value_size, 8), 8), per_cpu);
}

static void hold_map_element(struct hold *hold, const union bpf_attr *attr)
{
    size_t key;
    size_t value;

    map_sizes((int)attr->map_fd, &key, &value);
    guard_hold_room(hold, attr->key, key);
    guard_hold_room(hold, attr->value, max_size(value, key)); /* of BPF_MAP_GET_NEXT_KEY: the next one */
}

static void hold_map_batch(struct hold *hold, const union bpf_attr *attr)
{
    size_t key;
    size_t value;

    map_sizes((int)attr->batch.map_fd, &key, &value);
    guard_hold_room(hold, attr->batch.in_batch, max_size(key, 8));
    guard_hold_room(hold, attr->batch.out_batch, max_size(key, 8));
    guard_hold_room(hold, attr->batch.keys, times(attr->batch.count, key));
    guard_hold_room(hold, attr->batch.values, times(attr->batch.count, value));
}

void guard_hold_bpf(struct hold *hold, unsigned command, uintptr_t at, size_t bytes)
{
    struct structure structure;
    union bpf_attr attr;

    read_structure(&structure, at, bytes);
    memcpy(&attr, structure.bytes, sizeof attr);
    switch (command) {
    case BPF_MAP_LOOKUP_ELEM:
    case BPF_MAP_UPDATE_ELEM:
    case BPF_MAP_DELETE_ELEM:
    case BPF_MAP_GET_NEXT_KEY:
    case BPF_MAP_LOOKUP_AND_DELETE_ELEM:
        hold_map_element(hold, &attr);
        break;
    case BPF_MAP_LOOKUP_BATCH:
    case BPF_MAP_LOOKUP_AND_DELETE_BATCH:
    case BPF_MAP_UPDATE_BATCH:
    case BPF_MAP_DELETE_BATCH:
        hold_map_batch(hold, &attr);
        break;
    case BPF_OBJ_GET_INFO_BY_FD:
        (void)hold_forms(hold, commands, sizeof commands / sizeof commands[0], command, &structure);
        guard_hold_pointers(hold, attr.info.info, attr.info.info_len); /* lists of instructions, of numbers, a name */
        break;
    default:
        if (!hold_forms(hold, commands, sizeof commands / sizeof commands[0], command, &structure))
            hold_words(hold, &structure, bytes);
        break;
    }
}
