"""Writes resize.txt: random pictures, and what Pillow and OpenCV scale them to; python3 make.py > resize.txt (Pillow 13.0, OpenCV 5.0)."""
import cv2
import numpy as np
from PIL import Image

r = np.random.default_rng(1)
for (w, h, c), (W, H) in [((13, 9, 3), (7, 5)), ((13, 9, 3), (20, 31)), ((40, 30, 1), (8, 8)), ((5, 5, 3), (5, 9)), ((64, 48, 3), (17, 48))]:
    a = r.integers(0, 256, (h, w, c), dtype=np.uint8)
    p = np.array(Image.fromarray(a if c == 3 else a[..., 0]).resize((W, H), Image.BILINEAR))
    o = cv2.resize(a, (W, H), interpolation=cv2.INTER_LINEAR)
    print(w, h, c, W, H, a.tobytes().hex(), p.tobytes().hex(), o.tobytes().hex())
