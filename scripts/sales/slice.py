"""Cuts tests/fixtures/sales_slice.csv out of data/sales.csv: slice.py SALES OUT (plain python3).

The ten stores with the most lines; in them the 150 products with the most lines, and whatever was
given away; of these lines the first 3,000 from 2017-03-01 on. Few enough to load in a test, with
items that are sold several times, fuel, and lines without an amount. The fixture is frozen: this
script only says how it was made.
"""

import csv
import sys
from collections import Counter
from itertools import islice

STORES, PRODUCTS, LINES, FIRST_DAY = 10, 150, 3000, "2017-03-01"


def most(rows, column, count):
    """The values of a column that occur most often; equal counts in order of their text."""
    counted = Counter(row[column] for row in rows).items()
    return {value for value, _ in sorted(counted, key=lambda pair: (-pair[1], pair[0]))[:count]}


def main(source, target):
    with open(source, newline="", encoding="ascii") as file:
        rows = list(csv.DictReader(file))
    stores, products = most(rows, "store", STORES), most(rows, "product", PRODUCTS)
    picked = (row for row in rows if row["timestamp"] >= FIRST_DAY and row["store"] in stores
              and (row["product"] in products or row["amount"] == "0"))
    with open(target, "w", newline="", encoding="ascii") as file:
        out = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        out.writeheader()
        out.writerows(islice(picked, LINES))


if __name__ == "__main__":
    main(*sys.argv[1:3])
