"""What an image says about itself in its header. Nothing is decoded here: that is the model server's work."""

from io import BytesIO

from PIL import Image, UnidentifiedImageError

from api.errors import BadRequest, CannotProcess, TooLarge

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
"""The same as in the handler."""

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit would answer before MAX_IMAGE_PIXELS, and with a warning first


def dimensions(image: bytes, max_pixels: int) -> tuple[int, int]:
    """Width and height in pixels, as stored (before EXIF orientation).

    Raises:
        BadRequest: the bytes are no image, or of a format that is not supported.
        CannotProcess: a supported format, too broken for its own header to be read.
        TooLarge: more than `max_pixels`.
    """
    try:
        with Image.open(BytesIO(image), formats=FORMATS) as opened:
            width, height = opened.size
    except UnidentifiedImageError:
        raise BadRequest from None
    except Exception:  # Pillow knows the format, and its parser raises nearly anything: a cut WebP, for one
        raise CannotProcess from None
    if width * height > max_pixels:
        raise TooLarge(f"the image has more than {max_pixels} pixels")
    return width, height
