"""floors.py - what each phase costs at least, put together from floor.c's primitives.

`fits` is the share of the pages that the limit lets stay; a uniformly random access misses with 1 - fits. Steady state: every page
that comes in pushes one out. A page that was only read since it last came in still has its image, so dropping it is all; one
that was written is moved out and compressed as well. The program's own work is what the same phase takes on plain malloc.

    fill         plain + (1 - fits) x write-out              every page beyond the limit goes out once
    seqread      plain + decompress + copy_run16 + drop_run16 + fits x (move_run16 + compress)
                                                             every access misses; what the fill left resident is dirty
    randread     plain + (1 - fits) x (trap_copy + decompress + drop_run16)
    randread:2   the same, shared by two cores where there are two
    randupdate   plain + (1 - fits) x (trap_copy + decompress + write-out)
    zipf         as randread, with the miss ratio of a cache that keeps the most frequent pages, which no policy falls below for long
    write-out =  move_run16 + compress + drop_run16
"""

ZIPF_THETA = 0.99  # draw.c


def zipf_miss_ratio(n_pages, fits):
    n_kept = int(n_pages * fits)
    kept = sum(i ** -ZIPF_THETA for i in range(1, n_kept + 1))
    rest = sum(i ** -ZIPF_THETA for i in range(n_kept + 1, n_pages + 1))
    return rest / (kept + rest)


def floor_ns(phase, primitives, plain_ns, n_pages, fits, n_cores):
    """primitives: name -> ns a page. Returns ns an access, or None when a primitive could not be measured here."""
    try:
        p = primitives
        write_out = p["move_run16"] + p["compress"] + p["drop_run16"]
        read_in = p["trap_copy"] + p["decompress"]
        if phase == "fill":
            extra = (1 - fits) * write_out
        elif phase == "seqread":
            extra = p["decompress"] + p["copy_run16"] + p["drop_run16"] + fits * (p["move_run16"] + p["compress"])
        elif phase == "randread":
            extra = (1 - fits) * (read_in + p["drop_run16"])
        elif phase == "randread:2":
            extra = (1 - fits) * (read_in + p["drop_run16"]) / min(2, n_cores)
        elif phase == "randupdate":
            extra = (1 - fits) * (read_in + write_out)
        elif phase == "zipf":
            extra = zipf_miss_ratio(n_pages, fits) * (read_in + p["drop_run16"])
        else:
            return None
        return plain_ns + extra
    except (KeyError, TypeError):
        return None
