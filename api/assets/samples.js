// A few pictures that the browser draws itself, to try the service without a photo.

const WIDTH = 448, HEIGHT = 336;

function gradient(context, top, bottom, from = 0, to = HEIGHT) {
  const fill = context.createLinearGradient(0, from, 0, to);
  fill.addColorStop(0, top);
  fill.addColorStop(1, bottom);
  context.fillStyle = fill;
  context.fillRect(0, from, WIDTH, to - from);
}

function disc(context, x, y, radius, fill) {
  context.fillStyle = fill;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

function ball(context) {
  gradient(context, "#bfe3f7", "#eaf6fb");
  gradient(context, "#5fae57", "#2f7a35", 210);
  context.fillStyle = "#00000030";
  context.beginPath();
  context.ellipse(230, 272, 74, 14, 0, 0, 2 * Math.PI);
  context.fill();
  disc(context, 224, 206, 72, "#d9e650");
  context.strokeStyle = "#fbfde8";
  context.lineWidth = 7;
  for (const [x, from, to] of [[132, -0.75, 0.75], [316, Math.PI - 0.75, Math.PI + 0.75]]) {
    context.beginPath();
    context.arc(x, 206, 60, from, to);
    context.stroke();
  }
}

function sunset(context) {
  gradient(context, "#3b2a6b", "#ff9a5a", 0, 200);
  disc(context, 224, 188, 46, "#ffe08a");
  gradient(context, "#b4577b", "#241a4d", 200);
  context.fillStyle = "#ffe08a88";
  for (let row = 0; row < 9; row += 1) context.fillRect(224 - 44 + row * 3, 208 + row * 12, 88 - row * 6, 4);
}

function light(context) {
  gradient(context, "#9db8c9", "#dfe7ec");
  context.fillStyle = "#33383d";
  context.fillRect(214, 250, 20, 86);
  context.beginPath();
  context.roundRect(164, 24, 120, 236, 22);
  context.fill();
  ["#ff4b3e", "#5a4a1c", "#1e4a2a"].forEach((fill, place) => disc(context, 224, 68 + place * 74, 30, fill));
}

function stripes(context) {
  gradient(context, "#f6f3ec", "#e6e0d2");
  context.strokeStyle = "#1d1a17";
  context.lineCap = "round";
  for (let band = -1; band < 12; band += 1) {
    context.lineWidth = 10 + (band % 3) * 5;
    context.beginPath();
    context.moveTo(band * 42, -10);
    context.bezierCurveTo(band * 42 + 46, 90, band * 42 - 40, 210, band * 42 + 26, HEIGHT + 10);
    context.stroke();
  }
}

/** `{name, file, canvas}` of each sample. */
export function samples() {
  const drawings = { "Ball on grass": ball, "Sunset at sea": sunset, "Traffic light": light, "Zebra stripes": stripes };
  return Object.entries(drawings).map(([name, draw]) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [WIDTH, HEIGHT];
    draw(canvas.getContext("2d"));
    return { name, file: `${name.toLowerCase().replaceAll(" ", "-")}.jpg`, canvas };
  });
}

/** The canvas as a JPEG file. Not by `toBlob`: Chromium does that when it is idle, and now and then not for seconds. */
export function asFile(canvas, name) {
  const [, coded] = canvas.toDataURL("image/jpeg", 0.9).split(",");
  return new File([Uint8Array.from(atob(coded), (letter) => letter.charCodeAt(0))], name, { type: "image/jpeg" });
}
