"use strict";
// Draws the skeleton on a floor, on a canvas. Coordinates are metres, z up. Angles are radians.

const DISTANCE = 4; // of the camera, in heights of the whole motion; a far camera distorts little
const AIM = 0.44; // the camera aims at this fraction of the height of the motion
const HEAD_RADIUS = 0.1, TILE = 0.5; // metres; TILE is the smallest distance between the floor's lines
const TURN = 0.6, LIFT = 0.2; // the camera at first: beside the body's front, and above the horizon
const PELVIS = 0, NECK = 2, HEAD = 3, FIRST_FINGER = 21; // joints

class BodyView {
  // bones: [child, parent] by joint; sides: "left", "right" or "trunk" of each joint.
  constructor(canvas, bones, sides) {
    Object.assign(this, { canvas, bones, sides, values: 3 * sides.length });
    this.reset();
  }

  reset() {
    [this.turn, this.lift, this.zoom] = [TURN, LIFT, 1];
  }

  move(turn, lift, zoom = 1) {
    this.turn += turn;
    this.lift = Math.min(1.5, Math.max(-0.1, this.lift + lift));
    this.zoom = Math.min(6, Math.max(0.4, this.zoom * zoom));
  }

  // joints: Int16Array (frames, joints, 3) in steps of `quantum` metres; null if there is nothing to show.
  // view: { floor, height, radius, front } of the clip: metres, and the angle of the direction in which the body looks.
  show(joints, quantum, view) {
    Object.assign(this, { joints, quantum, ...view });
  }

  points(frame) {
    const value = (n) => this.joints[frame * this.values + n] * this.quantum;
    return this.sides.map((_, joint) => [value(3 * joint), value(3 * joint + 1), value(3 * joint + 2)]);
  }

  draw(frame, theme) {
    const [width, height, context] = fit(this.canvas);
    if (!this.joints) return;
    const points = this.points(frame);
    const [centreX, centreY] = points[PELVIS]; // the camera follows a body that travels
    const angle = this.front + this.turn;
    const [sin, cos, sinLift, cosLift] = [Math.sin(angle), Math.cos(angle), Math.sin(this.lift), Math.cos(this.lift)];
    const distance = DISTANCE * this.height;
    const metre = 0.8 * this.zoom * Math.min(height / this.height, width / (2 * this.radius)); // pixels
    // [x, y] on the canvas, depth towards the camera, pixels per metre at that depth
    const project = ([x, y, z]) => {
      const [dx, dy, dz] = [x - centreX, y - centreY, z - this.floor - AIM * this.height];
      const along = cos * dx + sin * dy;
      const depth = cosLift * along + sinLift * dz;
      const scale = (metre * distance) / Math.max(0.1 * distance, distance - depth);
      const up = cosLift * dz - sinLift * along;
      return [width / 2 + scale * (cos * dy - sin * dx), height / 2 - scale * up, depth, scale];
    };
    const line = ([fromX, fromY], [toX, toY], thickness, colour, cap) => {
      Object.assign(context, { strokeStyle: colour, lineWidth: thickness, lineCap: cap });
      context.beginPath();
      context.moveTo(fromX, fromY);
      context.lineTo(toX, toY);
      context.stroke();
    };
    const onFloor = ([x, y]) => project([x, y, this.floor]);
    this.drawFloor(context, onFloor, line, [centreX, centreY], theme);
    const thick = (bone, scale) => Math.max(1.5, scale * (bone[0] >= FIRST_FINGER ? 0.03 : 0.055));
    const flat = points.map(onFloor);
    for (const bone of this.bones) line(flat[bone[0]], flat[bone[1]], thick(bone, metre), theme.shadow, "round");
    const seen = points.map(project);
    const depth = ([child, parent]) => seen[child][2] + seen[parent][2];
    for (const bone of [...this.bones].sort((a, b) => depth(a) - depth(b))) {
      const [from, to] = bone.map((joint) => seen[joint]);
      const thickness = thick(bone, from[3]);
      // A border separates a bone from those behind it. It ends before the joints, where bones meet.
      const between = (share) => [0, 1].map((axis) => from[axis] + share * (to[axis] - from[axis]));
      line(between(0.2), between(0.8), thickness + 0.03 * from[3], theme.paper, "butt");
      line(from, to, thickness, theme[this.sides[bone[0]]], "round");
      if (bone[0] === HEAD) {
        const along = points[HEAD].map((value, axis) => value - points[NECK][axis]);
        const length = Math.max(1e-6, Math.hypot(...along)) / (0.6 * HEAD_RADIUS);
        const [x, y] = project(points[HEAD].map((value, axis) => value + along[axis] / length));
        line([x, y], [x, y], 2 * HEAD_RADIUS * from[3], theme.trunk, "round"); // a dot
      }
    }
  }

  drawFloor(context, onFloor, line, centre, theme) {
    const radius = this.radius;
    const tile = TILE * Math.max(1, Math.round(radius / 4));
    context.fillStyle = theme.floor;
    context.beginPath();
    for (let n = 0; n < 64; n++) {
      const [sin, cos] = [Math.sin((n * Math.PI) / 32), Math.cos((n * Math.PI) / 32)];
      context.lineTo(...onFloor([centre[0] + radius * cos, centre[1] + radius * sin]));
    }
    context.fill();
    for (const axis of [0, 1]) { // the lines have fixed places, so that they show how the body travels
      for (let at = Math.ceil((centre[axis] - radius) / tile) * tile; at < centre[axis] + radius; at += tile) {
        const half = Math.sqrt(Math.max(0, radius ** 2 - (at - centre[axis]) ** 2));
        const [from, to] = [-half, half].map((end) => (axis ? [centre[0] + end, at] : [at, centre[1] + end]));
        line(onFloor(from), onFloor(to), 1, theme.line, "butt");
      }
    }
  }
}

// Clears a canvas and fits it to the page and the screen's pixels. Returns its size in CSS pixels, and its context.
function fit(canvas, [width, height] = [canvas.clientWidth, canvas.clientHeight]) {
  const ratio = window.devicePixelRatio;
  const size = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return [width, height, context];
}
